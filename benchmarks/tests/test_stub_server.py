"""The servers without a model answer calls."""

import sys

import grpc.aio
import pytest

from benchmarks.load import requests
from benchmarks.server_process import server_process
from benchmarks.stub_server import KINDS
from onward.v1.completion_service_pb2_grpc import CompletionServiceStub


@pytest.mark.parametrize("kind", KINDS)
async def test_a_stub_server_answers_a_call(kind: str) -> None:
    async with (
        server_process(sys.executable, "-m", "benchmarks.stub_server", kind) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        response = await CompletionServiceStub(channel).Complete(requests(1, prompt=3, output=4)[0])
    assert (kind == "empty") == (not response.choices)
