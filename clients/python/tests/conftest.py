"""Fixtures of a fake server and of clients connected to it, one of each kind."""

import asyncio
from collections.abc import Iterator
from typing import Unpack

import pytest
from hypothesis import settings

from both_clients import Connect, blocking, waiting
from fake_server import FakeServer
from onward_client import TLS, Client
from onward_client.calls import ClientOptions

settings.register_profile("client", deadline=None, derandomize=True, database=None)
settings.load_profile("client")


@pytest.fixture
def server() -> Iterator[FakeServer]:
    fake = FakeServer()
    yield fake
    fake.stop()


@pytest.fixture(params=["Client", "AsyncClient"])
def connect(request: pytest.FixtureRequest) -> Iterator[Connect]:
    """Creates clients of one kind, and closes them after the test."""
    with asyncio.Runner() as runner:
        maker = blocking if request.param == "Client" else waiting(runner)
        made: list[Client] = []

        def make(target: str, *, tls: TLS | bool | None = None, **options: Unpack[ClientOptions]) -> Client:
            made.append(maker(target, tls=tls, **options))
            return made[-1]

        yield make
        for client in made:
            client.close()


@pytest.fixture
def client(connect: Connect, server: FakeServer) -> Client:
    """A client of the fake server."""
    return connect(server.target)
