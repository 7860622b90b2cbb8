"""A real server in process, on a free port, over model folders."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import grpc.aio

from onward_server.api.access import load_access
from onward_server.api.server import Server
from onward_server.app import running_engines
from onward_server.completion.catalogue import Catalogue
from onward_server.served_model import load_models
from onward_server.settings.server import Settings
from tests.serving import Served

Serve = Callable[..., AbstractAsyncContextManager[Served]]


@asynccontextmanager
async def serving_folder(folder: Path, **settings: object) -> AsyncGenerator[Served]:
    """Serves a model folder, with any settings, for the length of an `async with` block."""
    configured = Settings.model_validate({"model": (str(folder),), "listen": "127.0.0.1:0", **settings})
    models = load_models(configured)
    access = load_access(configured)
    async with (
        running_engines(configured, models, asyncio.Event()) as completers,
        Server(configured, Catalogue(completers), access) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        await server.open()
        yield Served(server, channel)
