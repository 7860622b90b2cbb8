"""Calls every method that a server lists in its reflection."""

from collections.abc import Iterator, Mapping

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.json_format import ParseDict
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from tests.waiting import WAIT_S

_CHAT: dict[str, object] = {
    "messages": [{"role": "ROLE_USER", "content": [{"text": "What is the weather in Oslo?"}]}],
    "sampling": {"max_tokens": 8},
    "tools": [{"function": {"name": "weather", "parameters": '{"properties": {"city": {"type": "string"}}}'}}],
    "tool_choice": {"mode": "MODE_REQUIRED"},
}
_REQUESTS: Mapping[str, dict[str, object]] = {
    "onward.v1.CompletionService.Complete": _CHAT,
    "onward.v1.CompletionService.StreamComplete": {"request": {**_CHAT, "n": 2, "logprobs": {"top_logprobs": 1}}},
    "onward.v1.ModelService.ListModels": {},
    "onward.v1.ModelService.GetModel": {"model": "pocket"},
    "onward.v1.TokenizerService.CountTokens": {"request": _CHAT},
    "onward.v1.TokenizerService.Tokenize": {"text": "Hello"},
    "onward.v1.TokenizerService.Detokenize": {"token_ids": [5, 6]},
    "grpc.health.v1.Health.Check": {},
    "grpc.health.v1.Health.List": {},
    "grpc.health.v1.Health.Watch": {},
    "grpc.reflection.v1alpha.ServerReflection.ServerReflectionInfo": {"list_services": ""},
}
"""A request for each method."""


def call_every_method(target: str) -> None:
    """Calls every method once and waits for its first response; fails for a method that has no request here."""
    with grpc.insecure_channel(target) as channel:
        for method in _methods(channel):
            assert method.full_name in _REQUESTS, f"add a request for {method.full_name}"
            _call(channel, method, _REQUESTS[method.full_name])


def _methods(channel: grpc.Channel) -> Iterator[MethodDescriptor]:
    database = ProtoReflectionDescriptorDatabase(channel)
    pool = DescriptorPool(database)
    for service in database.get_services():
        yield from pool.FindServiceByName(service).methods


def _call(channel: grpc.Channel, method: MethodDescriptor, body: dict[str, object]) -> None:
    asked, replied = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
    path = f"/{method.containing_service.full_name}/{method.name}"
    call = channel.stream_stream(path, asked.SerializeToString, replied.FromString)
    responses = call(iter([ParseDict(body, asked())]), timeout=WAIT_S)
    try:
        next(responses)
    except grpc.RpcError:
        if responses.code() is not grpc.StatusCode.UNIMPLEMENTED:  # grpc.aio's health service lists Health.List
            raise
    responses.cancel()
