"""Completions of a real server equal those of plain references: unary, streamed and in batches."""

import asyncio
import itertools
import json
import random
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from onward.v1.completion_pb2 import CompleteResponse, StreamCompleteRequest
from testing.other_exporters.decoder_graph import Layout
from testing.tiny_model import TINY, tiny_weights, write_tiny_model
from tests import write_pocket_golden as pocket
from tests.gpt2_model import SHAPE, random_gpt2_weights, write_gpt2_model
from tests.integration.exactness import greedy, greedy_ids, ids_of, sampled, streamed_text, text_of
from tests.model_serving import Serve
from tests.reference_decoder import reference_logits
from tests.reference_gpt2 import Gpt2Reference

GOLDEN = json.loads(pocket.GOLDEN.read_text(encoding="utf-8"))
NO_NEAR_TIE = 1e-3
"""The server's float32 and numpy's float64 agree on the likeliest token where it leads by this much."""


async def test_the_embedded_model_streams_every_golden_completion_byte_for_byte(serve: Serve) -> None:
    assert len(GOLDEN) >= 20
    async with serve(pocket.SERVED) as served:
        for case in GOLDEN:
            request = greedy(case["prompt_ids"], pocket.MAX_TOKENS)
            stream = served.completions.StreamComplete(StreamCompleteRequest(request=request))
            assert await streamed_text(stream) == case["completion"]


async def test_the_golden_completions_are_the_same_in_company(serve: Serve) -> None:
    async with serve(pocket.SERVED, max_queue=1000) as served:
        others = [served.completions.Complete(sampled("Tell me a story.", seed, 150)) for seed in range(7)]
        requests = [greedy(case["prompt_ids"], pocket.MAX_TOKENS) for case in GOLDEN]
        responses = await asyncio.gather(*map(served.completions.Complete, requests))
        for case, response in zip(GOLDEN, responses, strict=True):
            assert (ids_of(response), text_of(response)) == (case["completion_ids"], case["completion"])
        await asyncio.gather(*others)


@pytest.mark.parametrize(
    ("layout", "rewrite"),
    [("slots", False), ("growing", False), ("growing", True)],
    ids=["slots", "growing", "growing, rewritten"],
)
@pytest.mark.parametrize("seed", [1, 2])
async def test_a_decoder_of_random_weights_is_served_as_plain_numpy_computes_it(
    serve: Serve, tmp_path: Path, layout: Layout, seed: int, *, rewrite: bool
) -> None:
    folder = write_tiny_model(tmp_path / "tiny", layout=layout, seed=seed)
    prompts = [[5, 6, 7], [300, 20, 411, 90], [4], list(range(40, 60))]
    expected = [reference_greedy(seed, prompt, 30) for prompt in prompts]
    assert min(margin for _, margin in expected) > NO_NEAR_TIE
    async with serve(folder, rewrite=rewrite) as served:
        completions = await asyncio.gather(*(greedy_ids(served, prompt, 30) for prompt in prompts))
    assert completions == [ids for ids, _ in expected]


def reference_greedy(seed: int, prompt: list[int], num_tokens: int) -> tuple[list[int], float]:
    """The likeliest tokens, up to an end of sequence, and the least margin by which one was the likeliest."""
    weights = tiny_weights(TINY, seed=seed)
    ids, margin = list(prompt), np.inf
    while len(ids) < len(prompt) + num_tokens and not {0, 2} & set(ids[len(prompt) :]):
        logits = reference_logits(TINY, weights, np.array(ids))[-1]
        second, first = np.sort(logits)[-2:]
        margin = min(margin, float(first - second))
        ids.append(int(logits.argmax()))
    return ids[len(prompt) :], margin


async def test_a_gpt2_style_decoder_completes_every_prompt_as_plain_numpy_does(serve: Serve, tmp_path: Path) -> None:
    weights = random_gpt2_weights(seed=2)
    prompts = np.array(list(itertools.product(range(SHAPE.vocab_size), repeat=6)))
    expected, margin = Gpt2Reference(weights).greedy(prompts, 6)
    assert margin > NO_NEAR_TIE
    async with serve(write_gpt2_model(tmp_path / "gpt2", weights), max_queue=1000) as served:
        completions = await asyncio.gather(*(greedy_ids(served, prompt, 6) for prompt in prompts.tolist()))
    assert completions == expected.tolist()


@pytest.mark.parametrize("bits", [None, 4], ids=["fp32", "int4"])
async def test_a_request_gives_the_same_completion_alone_batched_chunked_late_and_streamed(
    serve: Serve, tmp_path: Path, bits: Literal[4] | None
) -> None:
    folder = write_tiny_model(tmp_path / "tiny", bits=bits)
    wanted = sampled("The harbour master was wrong about fog. " * 4, seed=11, max_tokens=40)
    generator = random.Random(5)
    async with serve(folder, max_queue=1000, prefill_chunk=16, step_target_ms=1) as served:

        async def neighbor(has_started: asyncio.Event) -> None:
            text = "The tide came in. " * generator.randrange(1, 9)
            other = sampled(text, generator.randrange(99), generator.randrange(1, 60))
            async for _ in served.completions.StreamComplete(StreamCompleteRequest(request=other)):
                has_started.set()

        alone = await served.completions.Complete(wanted)
        assert len(alone.choices[0].logprobs) == 40
        for num_before, num_after in ((0, 7), (7, 0), (20, 20)):
            has_started = asyncio.Event()
            before = [asyncio.create_task(neighbor(has_started)) for _ in range(num_before)]
            if before:
                await has_started.wait()
            crowded = served.completions.Complete(wanted)
            await asyncio.gather(*before, *(neighbor(has_started) for _ in range(num_after)))
            assert (await crowded).choices == alone.choices
        stream = served.completions.StreamComplete(StreamCompleteRequest(request=wanted))
        assert await streamed_text(stream) == text_of(alone)


async def test_the_first_of_n_choices_equals_the_only_one_and_each_can_be_repeated(
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
