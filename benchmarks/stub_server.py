"""Servers without a model: four kinds, each of which prints its address on standard error.

empty      grpc.aio handlers that return empty messages: the cost of gRPC itself
completer  onward's gRPC edge with ready-made completions: the cost of the edge
model      all of onward with a model that computes nothing: the cost of everything but the model
paced      the same with runs that sleep, so that its capacity does not depend on other processes
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import grpc
import grpc.aio
import numpy as np

from onward_server import app
from onward_server.api.access import load_access
from onward_server.api.server import Server
from onward_server.model.causal_lm import CausalLM, Logits, TokenIds
from onward_server.model.loader import LoadedModel, ModelLoader
from onward_server.settings.server import Settings
from onward_server.telemetry import configure_logging
from testing.fakes_completion import FakeCatalogue, FakeCompleter
from testing.tiny_model import TINY, write_tiny_model

SERVICE = "onward.v1.CompletionService"
STREAMS, MESSAGES = 32, 200
"""Streams of the benchmark, and deltas of each; a unary completion has one."""


PACED_SLOTS, PACED_QUEUE = 8, 32


def settings(*models: str, **more: object) -> Settings:
    """A server's settings, with a free port."""
    own = {"model": models, "listen": "127.0.0.1:0", "slots": STREAMS, "context_length": 2 * MESSAGES}
    return Settings.model_validate(own | more)


async def one_empty_message(_request: bytes, _context: object) -> bytes:
    """The cheapest unary method."""
    return b""


async def empty_messages(_request: bytes, _context: object) -> AsyncIterator[bytes]:
    """A stream of `MESSAGES` empty messages."""
    for _ in range(MESSAGES):
        yield b""


async def serve_empty() -> None:
    """Serves the empty handlers."""
    handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        "Complete": grpc.unary_unary_rpc_method_handler(one_empty_message),
        "StreamComplete": grpc.unary_stream_rpc_method_handler(empty_messages),
    }
    server = grpc.aio.server()
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, handlers)])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    say(f"127.0.0.1:{port}")
    await server.wait_for_termination()


async def serve_completer() -> None:
    """Serves onward's edge with ready-made completions."""
    completer = FakeCompleter(texts=("word ",) * MESSAGES)
    async with Server(settings(), FakeCatalogue((completer,)), load_access(settings())) as server:
        await server.open()
        say(server.address)
        await asyncio.Event().wait()


class StubCausalLM:
    """A model that always returns the same logits."""

    num_slots = STREAMS
    context_length = 2 * MESSAGES
    vocabulary_size = TINY.vocab_size
    fixed_chunk = None
    switch_length = None

    def __init__(self) -> None:
        """Allocates the logits that every method returns."""
        self._logits = np.zeros((self.num_slots, self.vocabulary_size), np.float32)
        self._logits[:, 100] = 10  # a letter

    def prefill(self, slot: int, token_ids: TokenIds, *, total_length: int = 0) -> Logits:  # noqa: ARG002  the protocol has these names
        """See `CausalLM.prefill`."""
        return self._logits[0]

    def decode(self, slots: Sequence[int], token_ids: Sequence[int]) -> Logits:  # noqa: ARG002
        """See `CausalLM.decode`."""
        return self._logits[: len(slots)]

    def copy(self, source: int, target: int) -> None:
        """See `CausalLM.copy`."""

    def release(self, slot: int) -> None:
        """See `CausalLM.release`."""


class PacedCausalLM(StubCausalLM):
    """A model whose runs take a constant time and no processor."""

    num_slots = PACED_SLOTS

    def prefill(self, slot: int, token_ids: TokenIds, *, total_length: int = 0) -> Logits:
        """See `CausalLM.prefill`."""
        time.sleep(0.005 + 0.0002 * len(token_ids))
        return super().prefill(slot, token_ids, total_length=total_length)

    def decode(self, slots: Sequence[int], token_ids: Sequence[int]) -> Logits:
        """See `CausalLM.decode`."""
        time.sleep(0.02)
        return super().decode(slots, token_ids)


def serve_model(model: CausalLM, **more: object) -> None:
    """Serves with everything real except the forward pass."""
    loaded = LoadedModel(
        causal_lm=model,
        deterministic=True,
        precision="fp32",
        execution_provider="CPUExecutionProvider",
        origin="a stub",
        graph_digest="",
        remaining_bytes=0,
    )
    with TemporaryDirectory() as name, patch.object(ModelLoader, "load", return_value=loaded):
        app.run(settings(str(write_tiny_model(Path(name) / "stub")), **more))


def say(address: str) -> None:
    """Prints the address in the form of `onward serve`."""
    sys.stderr.write(f"stub serves on {address};\n")
    sys.stderr.flush()


KINDS: dict[str, Callable[[], None]] = {
    "empty": lambda: asyncio.run(serve_empty()),
    "completer": lambda: asyncio.run(serve_completer()),
    "model": lambda: serve_model(StubCausalLM()),
    "paced": lambda: serve_model(PacedCausalLM(), slots=PACED_SLOTS, max_queue=PACED_QUEUE),
}


if __name__ == "__main__":
    configure_logging(level="info", form="text")
    KINDS[sys.argv[1]]()
