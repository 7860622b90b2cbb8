"""Trained models answer exactly as their references do, through a real server: unary, streamed and in company."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterable
from pathlib import Path
from typing import Literal

import pytest

from onward.v1.completion_pb2 import (
    CompleteRequest,
    CompleteResponse,
    RawPrompt,
    StreamCompleteRequest,
    StreamCompleteResponse,
    TokenIds,
)
from onward.v1.sampling_pb2 import LogprobOptions, SamplingParams
from tests.integration.conftest import Serve
from tests.nano_gpt import CHECKPOINT, write_nano_gpt
from tests.serving import Served
from tests.tiny_model import write_tiny_model

STORIES = Path(__file__).parents[3] / "shared" / "data" / "stories260K"
needs_stories = pytest.mark.skipif(not STORIES.is_dir(), reason="the trained stories260K model is not at hand")
needs_nano_gpt = pytest.mark.skipif(not CHECKPOINT.is_file(), reason="the trained nano-gpt model is not at hand")

STORY = CompleteRequest(
    raw_prompt=RawPrompt(token_ids=TokenIds(ids=[1])), sampling=SamplingParams(temperature=0, max_tokens=200)
)


def text_of(response: CompleteResponse) -> str:
    return response.choices[0].message.content[0].text


async def streamed_text(events: AsyncIterable[StreamCompleteResponse]) -> str:
    return "".join([event.delta.text async for event in events])


@needs_stories
async def test_a_trained_export_tells_its_golden_story_byte_for_byte(serve: Serve) -> None:
    golden = (STORIES / "golden_greedy.txt").read_text(encoding="utf-8")
    async with serve(STORIES / "onnx") as served:
        assert text_of(await served.completions.Complete(STORY)) == golden
        stream = served.completions.StreamComplete(StreamCompleteRequest(request=STORY))
        assert await streamed_text(stream) == golden


@needs_stories
async def test_the_golden_story_is_the_same_with_seven_others_running(serve: Serve) -> None:
    golden = (STORIES / "golden_greedy.txt").read_text(encoding="utf-8")
    async with serve(STORIES / "onnx") as served:
        others = [served.completions.Complete(sampled("Once upon a time", seed, 300)) for seed in range(7)]
        stream = served.completions.StreamComplete(StreamCompleteRequest(request=STORY))
        unary, streamed = await asyncio.gather(served.completions.Complete(STORY), streamed_text(stream))
        assert text_of(unary) == golden
        assert streamed == golden
        await asyncio.gather(*others)


@needs_nano_gpt
async def test_the_sorting_model_sorts_every_input(serve: Serve, tmp_path: Path) -> None:
    async with serve(write_nano_gpt(tmp_path / "nano"), max_queue=1000) as served:
        inputs = list(itertools.product(range(3), repeat=6))
        answers = await asyncio.gather(*(sort(served, symbols) for symbols in inputs))
        assert answers == [sorted(symbols) for symbols in inputs]


async def sort(served: Served, symbols: tuple[int, ...]) -> list[int]:
    request = CompleteRequest(
        raw_prompt=RawPrompt(token_ids=TokenIds(ids=symbols)),
        sampling=SamplingParams(temperature=0, max_tokens=6),
        logprobs=LogprobOptions(),
    )
    response = await served.completions.Complete(request)
    return [logprob.chosen.token_id for logprob in response.choices[0].logprobs]


def sampled(text: str, seed: int, max_tokens: int) -> CompleteRequest:
    return CompleteRequest(
        raw_prompt=RawPrompt(text=text),
        sampling=SamplingParams(temperature=1, top_p=0.9, seed=seed, max_tokens=max_tokens),
        logprobs=LogprobOptions(top_logprobs=3),
    )


@pytest.mark.parametrize("bits", [None, 4], ids=["fp32", "int4"])
async def test_one_request_gives_the_same_answer_alone_crowded_chunked_late_and_streamed(
    serve: Serve, tmp_path: Path, bits: Literal[4] | None
) -> None:
    folder = write_tiny_model(tmp_path / "tiny", bits=bits)
    wanted = sampled("The harbour master was wrong about fog. " * 4, seed=11, max_tokens=40)
    generator = random.Random(5)
    async with serve(folder, max_queue=1000, prefill_chunk=16, step_target_ms=1) as served:

        async def neighbour() -> None:
            text = "The tide came in. " * generator.randrange(1, 9)
            await served.completions.Complete(sampled(text, generator.randrange(99), generator.randrange(1, 60)))

        alone = await served.completions.Complete(wanted)
        assert len(alone.choices[0].logprobs) == 40
        for num_before, num_after in ((0, 7), (7, 0), (20, 20)):
            before = [asyncio.create_task(neighbour()) for _ in range(num_before)]
            await asyncio.sleep(0.01)
            crowded = served.completions.Complete(wanted)
            await asyncio.gather(*before, *(neighbour() for _ in range(num_after)))
            assert (await crowded).choices == alone.choices
        stream = served.completions.StreamComplete(StreamCompleteRequest(request=wanted))
        assert await streamed_text(stream) == text_of(alone)


async def test_the_first_of_n_answers_is_the_single_one_and_each_can_be_asked_for_again(
    serve: Serve, tiny_folder: Path
) -> None:
    wanted = sampled("The tide came in", seed=3, max_tokens=20)
    async with serve(tiny_folder) as served:
        alone = await served.completions.Complete(wanted)
        wanted.n = 3
        three = await served.completions.Complete(wanted)
        assert three.choices[0] == alone.choices[0]
        assert len({text_of(CompleteResponse(choices=[choice])) for choice in three.choices}) == 3
        wanted.n = 1
        wanted.sampling.seed = three.choices[2].seed
        again = await served.completions.Complete(wanted)
        assert text_of(again) == text_of(CompleteResponse(choices=[three.choices[2]]))
        assert three.usage.completion_tokens == 60
        assert three.usage.prompt_tokens == alone.usage.prompt_tokens
