"""What callers do wrong, and when they leave, changes no one else's answer and loses no slot."""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio
import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from grpc_health.v1.health_pb2 import HealthCheckResponse

from onward.v1.completion_pb2 import CompleteRequest, CompleteResponse, StreamCompleteRequest
from onward.v1.tokenizer_service_pb2 import CountTokensRequest
from onward.v1.usage_pb2 import TokenLogprob
from testing.tiny_model import write_tiny_model
from tests.malformed_calls import MalformedCall, chat_request, malformed_calls, raw_request
from tests.model_serving import Serve
from tests.serving import Served, details
from tests.waiting import WAIT_S

NUM_CALLS = 1000
NUM_SLOTS = 4
NUM_AT_ONCE = 50
OK, INVALID = grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT

# Shows, in few tokens, all that a caller can write into messages and tools.
TEMPLATE = """
{%- for tool in tools %}{% set function = tool.function -%}
{{ function.name }}{{ function.description }}{{ function.parameters | tojson }}
{% endfor %}
{%- for message in messages %}<|im_start|>{{ message.role }}{{ message.name }}{{ message.tool_call_id }}
{{ message.content }}
{%- for call in message.tool_calls %}{{ call.id }}{{ call.function.name }}{{ call.function.arguments | tojson }}
{%- endfor %}<|im_end|>
{% endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""


@pytest.fixture(scope="module")
def chat_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model whose template takes tools."""
    folder = write_tiny_model(tmp_path_factory.mktemp("models") / "chat")
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    return folder


async def baseline(served: Served) -> CompleteResponse:
    """An answer that takes every slot at once: it comes only when none is lost."""
    return await served.completions.Complete(raw_request(n=NUM_SLOTS), timeout=WAIT_S)


async def good_answers(served: Served) -> list[object]:
    """All that is the same each time in the answers to three good calls, made at once."""
    plain, chat, streamed = await asyncio.gather(
        served.completions.Complete(raw_request(7)),
        served.completions.Complete(chat_request(8)),
        streamed_answer(served, raw_request(9)),
    )
    return [list(plain.choices), list(chat.choices), *streamed]


async def streamed_answer(served: Served, request: CompleteRequest) -> tuple[str, list[TokenLogprob]]:
    text, logprobs = "", list[TokenLogprob]()
    async for event in served.completions.StreamComplete(StreamCompleteRequest(request=request)):
        text += event.delta.text
        logprobs += event.delta.logprobs
    return text, logprobs


async def code_of(answer: Awaitable[object] | AsyncIterable[object]) -> grpc.StatusCode:
    try:
        if isinstance(answer, AsyncIterable):
            async for _ in answer:
                pass
        else:
            await answer
    except grpc.aio.AioRpcError as error:
        return error.code()
    return OK


@asynccontextmanager
async def watched(served: Served) -> AsyncGenerator[None]:
    """Asks for the server's health, over and over, for the length of the block."""
    is_over = False

    async def watch() -> None:
        while not is_over:
            assert await served.health() == HealthCheckResponse.SERVING

    async with asyncio.timeout(WAIT_S), asyncio.TaskGroup() as tasks:
        tasks.create_task(watch())
        yield
        is_over = True


def logged_codes(caplog: pytest.LogCaptureFixture) -> Counter[str]:
    """How the calls ended as the server saw it: a client that leaves is not told."""
    return Counter(record.__dict__["fields"]["code"] for record in caplog.records if record.getMessage() == "request")


def logged_errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Of anything in this process: gRPC and asyncio too."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


async def test_a_thousand_calls_cancelled_at_random_points_change_no_answer_and_lose_no_slot(
    serve: Serve, chat_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "onward_server")
    generator = random.Random(1)
    async with serve(chat_folder, slots=NUM_SLOTS, max_queue=NUM_CALLS) as served:
        every_slot, expected = (await baseline(served)).choices, await good_answers(served)
        codes: Counter[grpc.StatusCode] = Counter()
        async with watched(served):
            for _ in range(NUM_CALLS // NUM_AT_ONCE):
                good = asyncio.ensure_future(good_answers(served))
                codes.update(await asyncio.gather(*(cancelled_call(served, generator) for _ in range(NUM_AT_ONCE))))
                assert await good == expected
        assert (await baseline(served)).choices == every_slot
    assert set(codes) <= {OK, grpc.StatusCode.CANCELLED}
    logged = logged_codes(caplog)
    assert set(logged) == {"OK", "CANCELLED"}
    assert logged["CANCELLED"] > NUM_CALLS / 4
    assert logged_errors(caplog) == []


async def cancelled_call(served: Served, generator: random.Random) -> grpc.StatusCode:
    """Of any kind; it may have ended before it is cancelled."""
    long = raw_request(generator.randrange(100), max_tokens=100, text="The tide " * generator.randrange(1, 30))
    chat = chat_request(generator.randrange(100), max_tokens=100)
    item = generator.choice([long, long, long, chat])
    match generator.randrange(5):
        case 0 | 1:
            stream = served.completions.StreamComplete(StreamCompleteRequest(request=item))
            for _ in range(generator.randrange(4)):
                await stream.read()
            stream.cancel()
            return await stream.code()
        case 2:
            text = "The tide " * 600
            unary = served.tokenizers.CountTokens(CountTokensRequest(request=raw_request(text=text)))
        case _:
            unary = served.completions.Complete(item)
    for _ in range(generator.randrange(8)):  # the server gets as far as it gets during so many other calls
        await served.health()
    unary.cancel()
    return await unary.code()


async def test_deadlines_that_pass_lose_no_slot(serve: Serve, tiny_folder: Path) -> None:
    generator = random.Random(2)
    async with serve(tiny_folder, slots=NUM_SLOTS, max_queue=NUM_CALLS) as served:
        before = await baseline(served)
        calls = [
            code_of(served.completions.Complete(raw_request(max_tokens=230), timeout=generator.random() * 0.2))
            for _ in range(100)
        ]
        codes = Counter(await asyncio.gather(*calls))
        assert set(codes) <= {grpc.StatusCode.OK, grpc.StatusCode.DEADLINE_EXCEEDED}
        assert (await baseline(served)).choices == before.choices


async def test_a_thousand_malformed_calls_among_good_ones_change_nothing(
    serve: Serve, chat_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    calls = malformed_calls(NUM_CALLS, random.Random(3))
    async with serve(chat_folder, slots=NUM_SLOTS, max_queue=2 * NUM_CALLS) as served:
        every_slot, expected = (await baseline(served)).choices, await good_answers(served)
        codes: list[grpc.StatusCode] = []
        async with watched(served):
            for first in range(0, NUM_CALLS, NUM_AT_ONCE):
                good = asyncio.ensure_future(good_answers(served))
                malformed = (served.call_with_bytes(call.method, call.data) for call in calls[first:][:NUM_AT_ONCE])
                codes += await asyncio.gather(*map(code_of, malformed))
                assert await good == expected
        assert (await baseline(served)).choices == every_slot
    assert [wrong for call, code in zip(calls, codes, strict=True) if (wrong := wrong_end(call, code))] == []
    assert codes.count(INVALID) > NUM_CALLS / 2
    assert logged_errors(caplog) == []


def wrong_end(call: MalformedCall, code: grpc.StatusCode) -> str | None:
    """What is wrong with how a malformed call ended, if anything is."""
    allowed = {INVALID} if call.is_invalid else {OK, INVALID, grpc.StatusCode.NOT_FOUND}
    return None if code in allowed else f"{call.method} of {call.name} ended with {code.name}"


async def test_every_bad_field_is_named_in_one_answer(serve: Serve, tiny_folder: Path) -> None:
    item = raw_request()
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
            await served.completions.Complete(raw_request(max_tokens=250, text="The tide came in. " * 5))
        info = details(failure.value)["ErrorInfo"]
        assert isinstance(info, ErrorInfo)
        assert info.reason == "CONTEXT_LENGTH_EXCEEDED"
        assert info.metadata["context_length"] == "256"
        assert int(info.metadata["prompt_tokens"]) > 7


async def test_a_full_queue_refuses_with_a_retry_time_while_health_answers(serve: Serve, tiny_folder: Path) -> None:
    async with serve(tiny_folder, slots=1, max_queue=2) as served:
        calls = [served.completions.Complete(raw_request(max_tokens=230)) for _ in range(40)]
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
