"""What callers do wrong, and when they leave, changes no one else's answer and loses no slot."""

import asyncio
import math
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import grpc
import grpc.aio
import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from grpc_health.v1.health_pb2 import HealthCheckResponse

from onward.v1.completion_pb2 import CompleteRequest, CompleteResponse, RawPrompt, StreamCompleteRequest, TokenIds
from onward.v1.sampling_pb2 import LogprobOptions, ResponseFormat, SamplingParams
from tests.integration.conftest import Serve
from tests.serving import Served, details

NUM_CALLS = 1000
NUM_SLOTS = 4
COMPLETE = "/onward.v1.CompletionService/Complete"


def request(seed: int = 0, *, max_tokens: int = 20, n: int = 1, text: str = "The tide came in") -> CompleteRequest:
    return CompleteRequest(
        raw_prompt=RawPrompt(text=text),
        sampling=SamplingParams(temperature=1, seed=seed, max_tokens=max_tokens, ignore_eos=True),
        logprobs=LogprobOptions(top_logprobs=1),
        n=n,
    )


async def baseline(served: Served) -> CompleteResponse:
    """An answer that takes every slot at once: it comes only when none is lost."""
    return await served.completions.Complete(request(n=NUM_SLOTS), timeout=60)


async def code_of(call: Awaitable[object]) -> grpc.StatusCode:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


async def test_a_thousand_calls_cancelled_at_random_points_lose_no_slot(serve: Serve, tiny_folder: Path) -> None:
    generator = random.Random(1)

    async def cancelled_call(served: Served, number: int) -> None:
        item = request(number, max_tokens=100, text="The tide " * generator.randrange(1, 30))
        delay_s = generator.random() * 0.05
        if number % 2:
            unary = served.completions.Complete(item)
            await asyncio.sleep(delay_s)
            unary.cancel()
            return
        stream = served.completions.StreamComplete(StreamCompleteRequest(request=item))
        for _ in range(generator.randrange(4)):
            await stream.read()
        stream.cancel()

    async with serve(tiny_folder, slots=NUM_SLOTS, max_queue=NUM_CALLS) as served:
        before = await baseline(served)
        for first in range(0, NUM_CALLS, 50):
            async with asyncio.timeout(60):
                await asyncio.gather(*(cancelled_call(served, first + number) for number in range(50)))
        assert (await baseline(served)).choices == before.choices


async def test_deadlines_that_pass_lose_no_slot(serve: Serve, tiny_folder: Path) -> None:
    generator = random.Random(2)
    async with serve(tiny_folder, slots=NUM_SLOTS, max_queue=NUM_CALLS) as served:
        before = await baseline(served)
        calls = [
            code_of(served.completions.Complete(request(max_tokens=230), timeout=generator.random() * 0.2))
            for _ in range(100)
        ]
        codes = Counter(await asyncio.gather(*calls))
        assert set(codes) <= {grpc.StatusCode.OK, grpc.StatusCode.DEADLINE_EXCEEDED}
        assert (await baseline(served)).choices == before.choices


async def test_a_thousand_malformed_requests_among_good_ones_change_nothing(serve: Serve, tiny_folder: Path) -> None:
    generator = random.Random(3)
    async with serve(tiny_folder, slots=NUM_SLOTS, max_queue=2 * NUM_CALLS) as served:
        good = await served.completions.Complete(request(7))
        raw: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = served.channel.unary_unary(COMPLETE)
        codes: Counter[grpc.StatusCode] = Counter()
        for _ in range(NUM_CALLS // 50):
            good_calls = [served.completions.Complete(request(7)) for _ in range(5)]
            codes.update(await asyncio.gather(*(code_of(raw(malformed(generator))) for _ in range(50))))
            for answer in await asyncio.gather(*good_calls):
                assert answer.choices == good.choices
        assert codes[grpc.StatusCode.INVALID_ARGUMENT] > NUM_CALLS / 2
        assert set(codes) <= {
            grpc.StatusCode.OK,
            grpc.StatusCode.INVALID_ARGUMENT,
            grpc.StatusCode.NOT_FOUND,
        }
        assert (await baseline(served)).choices


def malformed(generator: random.Random) -> bytes:
    """A request that is wrong in its bytes, or in what it asks for."""
    if generator.random() < 0.5:
        return flipped(request(max_tokens=5).SerializeToString(), generator)
    item = request()
    generator.choice(WRONGS)(item)
    return item.SerializeToString()


def flipped(data: bytes, generator: random.Random) -> bytes:
    """Bits flipped, or the end cut off."""
    changed = bytearray(data)
    for _ in range(generator.randrange(1, 4)):
        changed[generator.randrange(len(changed))] ^= 1 << generator.randrange(8)
    return bytes(changed[: generator.randrange(1, len(changed) + 1)])


Wrong = Callable[[CompleteRequest], object]


def _set(field: str, value: float) -> Wrong:
    return lambda item: setattr(item.sampling, field, value)


WRONGS: list[Wrong] = [
    *(
        _set(field, value)
        for field in ("temperature", "top_p", "min_p", "frequency_penalty", "presence_penalty", "repetition_penalty")
        for value in (math.nan, math.inf, -math.inf, 1e308, -3.0)
    ),
    *(_set(field, value) for field in ("max_tokens", "min_tokens", "top_k") for value in (-1, -(2**31))),
    _set("max_tokens", 2**31 - 1),
    lambda item: item.sampling.stop.extend([""] * 20),
    lambda item: item.sampling.stop.append("x" * 300),
    lambda item: item.sampling.stop_token_ids.extend([-1, 2**31 - 1]),
    lambda item: item.sampling.stop_token_ids.extend(range(100)),
    lambda item: item.sampling.logit_bias.update({2**31 - 1: 1.0, -5: 2.0}),
    lambda item: item.sampling.logit_bias.update({5: math.nan}),
    lambda item: item.raw_prompt.token_ids.CopyFrom(TokenIds(ids=[-1])),
    lambda item: item.raw_prompt.token_ids.CopyFrom(TokenIds(ids=[2**31 - 1])),
    lambda item: item.raw_prompt.token_ids.CopyFrom(TokenIds(ids=[1] * 100_000)),
    lambda item: item.raw_prompt.token_ids.CopyFrom(TokenIds()),
    lambda item: setattr(item.raw_prompt, "text", ""),
    lambda item: setattr(item.raw_prompt, "text", "x" * 100_000),
    lambda item: setattr(item, "n", 17),
    lambda item: setattr(item, "n", -1),
    lambda item: setattr(item.logprobs, "top_logprobs", 21),
    lambda item: item.time_limit.FromNanoseconds(-1),
    lambda item: item.metadata.update({"k" * 65: "v"}),
    lambda item: item.response_format.CopyFrom(ResponseFormat()),
    lambda item: item.messages.add(),
]


async def test_every_bad_field_is_named_in_one_answer(serve: Serve, tiny_folder: Path) -> None:
    item = request()
    item.sampling.temperature = 9
    item.sampling.top_p = 0
    item.sampling.stop_token_ids.append(-1)
    item.logprobs.top_logprobs = 99
    async with serve(tiny_folder) as served:
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await served.completions.Complete(item)
        bad_request = details(failure.value)["BadRequest"]
        assert isinstance(bad_request, BadRequest)
        assert [violation.field for violation in bad_request.field_violations] == [
            "sampling.temperature",
            "sampling.top_p",
            "sampling.stop_token_ids[0]",
            "logprobs.top_logprobs",
        ]


async def test_a_prompt_beyond_the_window_is_refused_with_its_figures(serve: Serve, tiny_folder: Path) -> None:
    async with serve(tiny_folder) as served:
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await served.completions.Complete(request(max_tokens=250, text="The tide came in. " * 5))
        info = details(failure.value)["ErrorInfo"]
        assert isinstance(info, ErrorInfo)
        assert info.reason == "CONTEXT_LENGTH_EXCEEDED"
        assert info.metadata["context_length"] == "256"
        assert int(info.metadata["prompt_tokens"]) > 7


async def test_a_full_queue_refuses_with_a_retry_time_while_health_answers(serve: Serve, tiny_folder: Path) -> None:
    async with serve(tiny_folder, slots=1, max_queue=2) as served:
        calls = [served.completions.Complete(request(max_tokens=230)) for _ in range(40)]
        assert await served.health() == HealthCheckResponse.SERVING
        errors = [error for call in calls if isinstance(error := await failure_of(call), grpc.aio.AioRpcError)]
        assert len(errors) >= 30
        for error in errors:
            assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert int(dict(error.trailing_metadata() or ())["grpc-retry-pushback-ms"]) > 0
            retry = details(error)["RetryInfo"]
            assert isinstance(retry, RetryInfo)
            assert retry.retry_delay.ToMilliseconds() > 0


async def failure_of(call: Awaitable[object]) -> grpc.aio.AioRpcError | None:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error
    return None
