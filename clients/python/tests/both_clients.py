"""Puts both clients behind one interface, so that each test of a call is written once."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar, Unpack, cast

from onward.v1.completion_pb2 import StreamCompleteResponse
from onward_client import TLS, AsyncClient, AsyncCompletionStream, Client, Completion
from onward_client.calls import ClientOptions

T = TypeVar("T")


class Waiting:
    """An `AsyncClient` whose methods block, like those of `Client`."""

    def __init__(self, client: AsyncClient, runner: asyncio.Runner) -> None:
        self._client = client
        self._runner = runner

    def __enter__(self) -> Self:
        self._runner.run(self._client.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._runner.run(self._client.__aexit__(kind, error, trace))

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._client, name)

        async def call(*args: object, **keywords: object) -> object:
            result = method(*args, **keywords)
            return await result if inspect.isawaitable(result) else result

        def wait(*args: object, **keywords: object) -> object:
            match self._runner.run(call(*args, **keywords)):
                case AsyncCompletionStream() as stream:
                    return WaitingStream(stream, self._runner)
                case AsyncClient() as client:
                    return Waiting(client, self._runner)
                case result:
                    return result

        return wait


class WaitingStream:
    """An `AsyncCompletionStream` that blocks for each event, like `CompletionStream`."""

    def __init__(self, stream: AsyncCompletionStream, runner: asyncio.Runner) -> None:
        self._stream = stream
        self._runner = runner

    def __enter__(self) -> Self:
        self._runner.run(self._stream.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._runner.run(self._stream.__aexit__(kind, error, trace))

    def __iter__(self) -> Iterator[StreamCompleteResponse]:
        return self._wait_for_each(self._stream)

    @property
    def text(self) -> Iterator[str]:
        return self._wait_for_each(self._stream.text)

    @property
    def snapshot(self) -> Completion:
        return self._stream.snapshot

    def final(self) -> Completion:
        return self._runner.run(self._stream.final())

    def _wait_for_each(self, items: AsyncIterator[T]) -> Iterator[T]:
        async def following() -> T | None:
            return await anext(items, None)

        while (item := self._runner.run(following())) is not None:
            yield item


class Connect(Protocol):
    """Creates clients of one kind."""

    def __call__(self, target: str, *, tls: TLS | bool | None = None, **options: Unpack[ClientOptions]) -> Client: ...


def blocking(target: str, *, tls: TLS | bool | None = None, **options: Unpack[ClientOptions]) -> Client:
    """Creates a `Client`."""
    return Client(target, tls=tls, **options)


def waiting(runner: asyncio.Runner) -> Connect:
    """Returns a function that creates `AsyncClient`s with the interface of `Client`."""

    def make(target: str, *, tls: TLS | bool | None = None, **options: Unpack[ClientOptions]) -> Client:
        return cast("Client", Waiting(AsyncClient(target, tls=tls, **options), runner))

    return make
