"""The table of RPCs agrees with the generated services."""

from typing import Any

from google.protobuf.descriptor import FileDescriptor

from onward.v1 import completion_service_pb2, model_service_pb2, tokenizer_service_pb2
from onward_client import rpcs

FILES: list[FileDescriptor] = [
    completion_service_pb2.DESCRIPTOR,
    model_service_pb2.DESCRIPTOR,
    tokenizer_service_pb2.DESCRIPTOR,
]


def test_the_table_has_every_rpc_of_the_protocol_with_its_types() -> None:
    generated = {
        (f"/{service.full_name}/{method.name}", method.input_type.full_name, method.output_type.full_name)
        for file in FILES
        for service in file.services_by_name.values()
        for method in service.methods
    }
    table: list[rpcs.Rpc[Any, Any]] = [value for value in vars(rpcs).values() if isinstance(value, rpcs.Rpc)]

    assert generated == {
        (rpc.path, rpc.request.DESCRIPTOR.full_name, rpc.response.DESCRIPTOR.full_name)
        for rpc in table
        if rpc is not rpcs.HEALTH
    }
