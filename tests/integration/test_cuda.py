"""The server with float16 exports on an NVIDIA GPU; run by `make test-cuda`, which needs one."""

import asyncio
import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto

from onward.v1.completion_pb2 import CompleteRequest, CompleteResponse, RawPrompt, StreamCompleteRequest
from onward.v1.model_service_pb2 import GetModelRequest, Model
from onward.v1.sampling_pb2 import LogprobOptions, SamplingParams
from onward.v1.usage_pb2 import FINISH_REASON_LENGTH, FINISH_REASON_STOP, TokenLogprob
from onward_client import AsyncClient
from onward_server.errors import StartupError
from onward_server.model.loader import load_model
from onward_server.model.onnx_session import ExecutionProvider, OnnxSession, SessionOptions
from onward_server.model.source.folder import ModelFolder
from testing.other_exporters.decoder_graph import Layout
from testing.other_exporters.graph import Graph
from testing.other_exporters.model_folder import write_model
from testing.tiny_model import TINY, write_tiny_model
from tests.model_serving import Serve
from tests.serving import Served
from tests.waiting import WAIT_S

pytestmark = pytest.mark.cuda

POCKET = Path(__file__).parents[2] / "models" / "pocket" / "served"
NUM_SLOTS = 4
ON_CUDA = {"execution_provider": "cuda", "slots": NUM_SLOTS}
COMPUTES_SHAPES = {"Cast", "Concat", "Gather", "Shape", "Slice", "Squeeze", "Sub", "Unsqueeze"}
"""Operators that may run on the CPU: they compute shapes, which CUDA kernels read from host memory."""

LAYOUTS: tuple[Layout, ...] = ("slots", "growing")
SHAPES = {
    "16_wide_heads": TINY,
    "64_wide_heads_in_pairs": replace(TINY, head_dim=64),
    "64_wide_heads_in_threes": replace(TINY, head_dim=64, num_heads=3, num_kv_heads=1),
}
"""CUDA has separate attention kernels for some head widths and group sizes."""

CITY = {
    "type": "object",
    "properties": {"city": {"enum": ["Rome", "Oslo"]}, "days": {"type": "integer", "minimum": 1, "maximum": 7}},
    "required": ["city", "days"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module", autouse=True)
def gpu(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Fails if a matrix product cannot run on CUDA. That the wheel supports CUDA does not prove that the GPU works."""
    folder = tmp_path_factory.mktemp("product")
    graph = Graph()
    rows = graph.input("rows", TensorProto.FLOAT, [1, 2])
    graph.output("product", TensorProto.FLOAT, [1, 2])
    graph.node("MatMul", [rows, graph.constant("matrix", np.eye(2, dtype=np.float32))], "product")
    write_model(graph.model("product"), folder)
    try:
        OnnxSession(folder / "model.onnx", SessionOptions(execution_provider=ExecutionProvider.CUDA))
    except StartupError as error:
        pytest.fail(f"CUDA cannot be used here: {error}")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("models") / "half", is_float16=True)


def greedy(text: str = "The tide came in", *, max_tokens: int = 100, stop_ids: Sequence[int] = ()) -> CompleteRequest:
    return CompleteRequest(
        raw_prompt=RawPrompt(text=text),
        sampling=SamplingParams(temperature=0, max_tokens=max_tokens, ignore_eos=True, stop_token_ids=stop_ids),
        logprobs=LogprobOptions(top_logprobs=2),
    )


def sampled_ids(logprobs: Sequence[TokenLogprob]) -> list[int]:
    return [logprob.chosen.token_id for logprob in logprobs]


async def model_card(served: Served, name: str) -> Model:
    return (await served.models.GetModel(GetModelRequest(model=name))).model


def test_only_operators_that_compute_shapes_run_on_the_cpu(folder: Path) -> None:
    session = OnnxSession(folder / "model.onnx", SessionOptions(execution_provider=ExecutionProvider.CUDA))
    placed = session._session.get_provider_graph_assignment_info()
    op_types = {(part.ep_name, node.op_type) for part in placed for node in part.get_nodes()}
    on_cpu = {op_type for provider, op_type in op_types if provider == "CPUExecutionProvider"}
    assert ("CUDAExecutionProvider", "GroupQueryAttention") in op_types
    assert on_cpu <= COMPUTES_SHAPES


def walked_logits(folder: Path, provider: ExecutionProvider) -> NDArray[np.float32]:
    """Logits of a prompt in chunks, of a copied slot, and of decode steps past a bucket's end, some with idle rows."""
    options = SessionOptions(execution_provider=provider)
    loaded = load_model(
        ModelFolder.read(folder), options, num_slots=3, max_context_length=None, prefill_chunk=TINY.max_positions
    )
    model = loaded.causal_lm
    token_ids = np.random.default_rng(1).integers(3, TINY.vocab_size, (3, 80))
    prefills = ((0, token_ids[0, :9]), (0, token_ids[0, 9:14]), (1, token_ids[1, :3]))
    logits = [model.prefill(slot, chunk).copy() for slot, chunk in prefills]
    model.copy(0, 2)
    for step in range(14, 80):
        slots = [0, 2] if step % 3 else [0, 1, 2]
        logits.extend(model.decode(slots, token_ids[slots, step].tolist()).copy())
    return np.stack(logits)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", SHAPES)
def test_logits_are_close_to_those_of_the_same_file_on_the_cpu(tmp_path: Path, shape: str, layout: Layout) -> None:
    """Logits are within ±15. On the CPU, float16 differs from float32 by up to 0.16, and by 0.012 on average."""
    half = write_tiny_model(tmp_path / "half", layout=layout, is_float16=True, config=SHAPES[shape])
    on_cpu, on_cuda = (walked_logits(half, provider) for provider in (ExecutionProvider.CPU, ExecutionProvider.CUDA))
    differences = np.abs(on_cuda - on_cpu)
    assert differences.mean() < 0.03
    assert differences.max() < 0.5


@pytest.mark.parametrize("provider", ["auto", "cuda"])
async def test_a_float16_export_is_served_on_cuda(serve: Serve, folder: Path, provider: str) -> None:
    async with serve(folder, execution_provider=provider) as served:
        card = await model_card(served, "half")
    assert (card.execution_provider, card.precision) == ("CUDAExecutionProvider", "fp16")


async def test_auto_serves_the_embedded_model_on_the_cpu_and_says_why(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve(POCKET, execution_provider="auto") as served, AsyncClient(served.server.address) as client:
        card = await model_card(served, "served")
        completion = await client.complete("Hello, who are you?", temperature=0)
    assert card.execution_provider == "CPUExecutionProvider"
    assert "Pocket" in completion.text
    (warning,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warning.startswith("execution provider auto uses the CPU: ")
    assert "GroupQueryAttention" in warning


async def test_the_embedded_model_is_rejected_on_cuda_with_advice(serve: Serve) -> None:
    with pytest.raises(StartupError, match=r"GroupQueryAttention.*fp16.*or use --execution-provider cpu"):
        async with serve(POCKET, execution_provider="cuda"):
            pass


async def test_a_streamed_completion_equals_the_unary_one(serve: Serve, folder: Path) -> None:
    async with serve(folder, **ON_CUDA) as served:
        unary = (await served.completions.Complete(greedy())).choices[0]
        events = [event async for event in served.completions.StreamComplete(StreamCompleteRequest(request=greedy()))]
    streamed = [logprob for event in events for logprob in event.delta.logprobs]
    assert sampled_ids(streamed) == sampled_ids(unary.logprobs)
    assert "".join(event.delta.text for event in events) == unary.message.content[0].text
    assert len(set(sampled_ids(streamed))) > 10


async def test_a_stop_token_ends_a_choice_at_its_first_occurrence(serve: Serve, folder: Path) -> None:
    async with serve(folder, **ON_CUDA) as served:
        whole = sampled_ids((await served.completions.Complete(greedy())).choices[0].logprobs)
        stopped = (await served.completions.Complete(greedy(stop_ids=whole[50:51]))).choices[0]
    assert sampled_ids(stopped.logprobs) == whole[: whole.index(whole[50]) + 1]
    assert stopped.finish_reason == FINISH_REASON_STOP


async def test_every_one_of_many_completions_has_all_tokens_and_its_usage(serve: Serve, folder: Path) -> None:
    lengths = [*range(1, 40, 3), 150]
    async with serve(folder, **ON_CUDA) as served:
        asked = [greedy("The tide came in. " * (1 + length % 5), max_tokens=length) for length in lengths]
        completions: list[CompleteResponse] = await asyncio.gather(*map(served.completions.Complete, asked))
    for length, completion in zip(lengths, completions, strict=True):
        (choice,) = completion.choices
        assert (len(choice.logprobs), completion.usage.completion_tokens) == (length, length)
        assert choice.finish_reason == FINISH_REASON_LENGTH


async def test_several_choices_of_one_prompt_differ_and_are_complete(serve: Serve, folder: Path) -> None:
    """All choices but the first decode from a copy of its keys and values."""
    request = greedy()
    request.n = NUM_SLOTS
    request.sampling.temperature = 1
    async with serve(folder, **ON_CUDA) as served:
        completion = await served.completions.Complete(request)
    assert [choice.completion_tokens for choice in completion.choices] == [100] * NUM_SLOTS
    assert len({tuple(sampled_ids(choice.logprobs)) for choice in completion.choices}) == NUM_SLOTS


async def test_outputs_match_their_schema_beside_unconstrained_ones(serve: Serve, folder: Path) -> None:
    async with serve(folder, **ON_CUDA) as served, AsyncClient(served.server.address) as client:
        free = [asyncio.ensure_future(served.completions.Complete(greedy())) for _ in range(2)]
        options: dict[str, Any] = {"response_format": {"json_schema": {"schema": CITY}}, "temperature": 1}
        bound = [client.complete("Where?", **options, seed=seed, max_tokens=200) for seed in range(NUM_SLOTS)]
        values = [json.loads(completion.text) for completion in await asyncio.gather(*bound)]
        await asyncio.gather(*free)
    for value in values:
        assert value.keys() == {"city", "days"}
        assert value["city"] in {"Rome", "Oslo"}
        assert value["days"] in range(1, 8)


async def test_calls_that_are_canceled_while_they_decode_lose_no_slot(serve: Serve, folder: Path) -> None:
    async with serve(folder, **ON_CUDA) as served:
        for _ in range(3 * NUM_SLOTS):
            stream = served.completions.StreamComplete(StreamCompleteRequest(request=greedy(max_tokens=200)))
            for _ in range(3):
                await stream.read()
            stream.cancel()
        request = greedy()
        request.n = NUM_SLOTS
        completion = await served.completions.Complete(request, timeout=WAIT_S)
    assert [len(choice.logprobs) for choice in completion.choices] == [100] * NUM_SLOTS
