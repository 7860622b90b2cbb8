"""A real instruct model, exported from its GGUF file, answers as transformers does with the same weights."""

import asyncio

import pytest

from onward.v1.chat_pb2 import ROLE_USER, ContentPart, Message
from onward.v1.completion_pb2 import CompleteRequest
from onward.v1.sampling_pb2 import LogprobOptions, SamplingParams
from tests.greedy_cases import GreedyCase, agreement
from tests.integration.exactness import ids_of, text_of
from tests.model_serving import Serve
from tests.naive_decoder import NaiveDecoder
from tests.serving import Served
from tests.smollm2.conftest import Exported

NUM_TOKENS = 64
NUM_SLOTS = 8


async def completed(served: Served, case: GreedyCase) -> tuple[int, ...]:
    """The greedy tokens after the prompt as a user's message."""
    response = await served.completions.Complete(
        CompleteRequest(
            messages=[Message(role=ROLE_USER, content=[ContentPart(text=case.prompt)])],
            sampling=SamplingParams(temperature=0, max_tokens=NUM_TOKENS),
            logprobs=LogprobOptions(),
        )
    )
    assert response.usage.prompt_tokens == len(case.prompt_ids)
    return tuple(ids_of(response))


async def test_float32_completions_equal_those_of_transformers_alone_and_eight_at_a_time(
    serve: Serve, exported: Exported, cases: list[GreedyCase]
) -> None:
    async with serve(exported("fp32"), slots=NUM_SLOTS, max_queue=100) as served:
        expected = [case.greedy_ids for case in cases]
        assert [await completed(served, case) for case in cases] == expected
        assert await asyncio.gather(*(completed(served, case) for case in cases)) == expected


@pytest.mark.parametrize(("precision", "least"), [("fp16", 0.99), ("int8", 0.97), ("int4", 0.95)])
def test_smaller_precisions_mostly_agree_on_the_next_token(
    precision: str, least: float, exported: Exported, cases: list[GreedyCase]
) -> None:
    assert agreement(NaiveDecoder(exported(precision) / "model.onnx"), cases) >= least


@pytest.mark.parametrize("precision", ["int8", "int4"])
async def test_integer_completions_do_not_depend_on_the_load(
    precision: str, serve: Serve, exported: Exported, cases: list[GreedyCase]
) -> None:
    async with serve(exported(precision), slots=NUM_SLOTS, max_queue=100) as served:
        alone = [await completed(served, case) for case in cases]
        assert await asyncio.gather(*(completed(served, case) for case in cases)) == alone


async def test_it_knows_the_capital_of_france(serve: Serve, exported: Exported) -> None:
    async with serve(exported("fp32")) as served:
        question = Message(role=ROLE_USER, content=[ContentPart(text="What is the capital of France?")])
        request = CompleteRequest(messages=[question], sampling=SamplingParams(temperature=0))
        assert text_of(await served.completions.Complete(request)) == "The capital of France is Paris."
