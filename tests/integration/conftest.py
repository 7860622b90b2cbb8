"""A real server in process, on a free port, over small real models."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc.aio
import pytest

from onward.v1.completion_service_pb2_grpc import CompletionServiceStub
from onward.v1.model_service_pb2_grpc import ModelServiceStub
from onward.v1.tokenizer_service_pb2_grpc import TokenizerServiceStub
from service.api.access import load_access
from service.app import load_models, started
from service.settings import Settings
from tests.tiny_model import write_tiny_model


@dataclass(frozen=True, slots=True)
class Served:
    """A running server with one channel to it."""

    channel: grpc.aio.Channel

    @property
    def completions(self) -> "CompletionServiceStub":
        return CompletionServiceStub(self.channel)

    @property
    def models(self) -> "ModelServiceStub":
        return ModelServiceStub(self.channel)

    @property
    def tokenizers(self) -> "TokenizerServiceStub":
        return TokenizerServiceStub(self.channel)


Serve = Callable[..., AbstractAsyncContextManager[Served]]


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random-weight decoder on the slots layout, with a ChatML template."""
    return write_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def serve() -> Serve:
    """Serves a model folder: `async with serve(folder, slots=4) as served`."""

    @asynccontextmanager
    async def serving(folder: Path, **settings: object) -> AsyncGenerator[Served]:
        configured = Settings.model_validate({"model": (str(folder),), "listen": "127.0.0.1:0", **settings})
        models = load_models(configured)
        access = load_access(configured)
        async with (
            started(configured, models, access, asyncio.Event()) as server,
            grpc.aio.insecure_channel(server.address) as channel,
        ):
            yield Served(channel)

    return serving
