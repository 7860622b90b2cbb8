"""A real server in process, on a free port, over small real models."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import grpc.aio
import pytest

from onward_server.api.access import load_access
from onward_server.app import load_models, started
from onward_server.settings.server import Settings
from tests.serving import Served
from tests.tiny_model import write_tiny_model

Serve = Callable[..., AbstractAsyncContextManager[Served]]


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random-weight decoder on the slots layout, with a ChatML template."""
    return write_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def serve() -> Serve:
    """Starts a server for a model folder, with any settings, for the length of an `async with` block."""

    @asynccontextmanager
    async def serving(folder: Path, **settings: object) -> AsyncGenerator[Served]:
        configured = Settings.model_validate({"model": (str(folder),), "listen": "127.0.0.1:0", **settings})
        models = load_models(configured)
        access = load_access(configured)
        async with (
            started(configured, models, access, asyncio.Event()) as server,
            grpc.aio.insecure_channel(server.address) as channel,
        ):
            yield Served(server, channel)

    return serving
