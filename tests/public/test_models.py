"""Third-party trained models give exactly the completions that their authors published, also through a real server."""

import asyncio
import itertools
from pathlib import Path

import numpy as np
import pytest

from onward.v1.completion_pb2 import CompleteRequest, RawPrompt, StreamCompleteRequest, TokenIds
from onward.v1.sampling_pb2 import SamplingParams
from tests.gpt2_model import SHAPE, write_gpt2_model
from tests.integration.exactness import greedy_ids, sampled, streamed_text, text_of
from tests.model_serving import Serve
from tests.naive_decoder import NaiveDecoder
from tests.public.nano_gpt import CHECKPOINT, REFERENCE, read_tensors

STORY = CompleteRequest(
    raw_prompt=RawPrompt(token_ids=TokenIds(ids=[1])), sampling=SamplingParams(temperature=0, max_tokens=200)
)


@pytest.fixture(scope="module")
def nano_gpt(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gpt2_model(tmp_path_factory.mktemp("nano-gpt"), read_tensors(data / CHECKPOINT))


def test_logits_equal_those_of_the_original(data: Path, nano_gpt: Path) -> None:
    reference = read_tensors(data / REFERENCE)
    logits, _ = NaiveDecoder(nano_gpt / "model.onnx").forward(reference["idx"].astype(np.int64))
    np.testing.assert_allclose(logits, reference["lm_head"], atol=5e-6)


def test_it_sorts_every_input(nano_gpt: Path) -> None:
    inputs = np.array(list(itertools.product(range(SHAPE.vocab_size), repeat=6)))
    decoder = NaiveDecoder(nano_gpt / "model.onnx")
    logits, caches = decoder.forward(inputs)
    sampled_ids = [logits[:, -1].argmax(axis=-1)]
    while len(sampled_ids) < 6:
        logits, caches = decoder.forward(sampled_ids[-1][:, None], caches)
        sampled_ids.append(logits[:, -1].argmax(axis=-1))
    np.testing.assert_array_equal(np.stack(sampled_ids, axis=1), np.sort(inputs, axis=1))


async def test_the_sorting_model_sorts_every_input(serve: Serve, nano_gpt: Path) -> None:
    async with serve(nano_gpt, max_queue=1000) as served:
        inputs = list(itertools.product(range(SHAPE.vocab_size), repeat=6))
        completions = await asyncio.gather(*(greedy_ids(served, symbols, 6) for symbols in inputs))
        assert completions == [sorted(symbols) for symbols in inputs]


async def test_a_trained_export_tells_its_golden_story_byte_for_byte(serve: Serve, data: Path) -> None:
    golden = (data / "stories260K/golden_greedy.txt").read_text(encoding="utf-8")
    async with serve(data / "stories260K/onnx") as served:
        assert text_of(await served.completions.Complete(STORY)) == golden
        stream = served.completions.StreamComplete(StreamCompleteRequest(request=STORY))
        assert await streamed_text(stream) == golden


async def test_the_golden_story_is_the_same_with_seven_others_running(serve: Serve, data: Path) -> None:
    golden = (data / "stories260K/golden_greedy.txt").read_text(encoding="utf-8")
    async with serve(data / "stories260K/onnx") as served:
        others = [served.completions.Complete(sampled("Once upon a time", seed, 300)) for seed in range(7)]
        stream = served.completions.StreamComplete(StreamCompleteRequest(request=STORY))
        unary, streamed = await asyncio.gather(served.completions.Complete(STORY), streamed_text(stream))
        assert text_of(unary) == golden
        assert streamed == golden
        await asyncio.gather(*others)
