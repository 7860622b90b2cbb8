"""Invalid requests, cancellations and deadlines change no other completion and lose no slot."""

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
from onward.v1.tokenizer_service_pb2 import CountTokensRequest, TokenizeRequest
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
    """A tiny model whose template supports tools."""
    folder = write_tiny_model(tmp_path_factory.mktemp("models") / "chat")
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    return folder


async def baseline(served: Served) -> CompleteResponse:
    """Requests a completion that needs every slot at once: it succeeds only if no slot is lost."""
    return await served.completions.Complete(raw_request(n=NUM_SLOTS), timeout=WAIT_S)


async def valid_completions(served: Served) -> list[object]:
    """Sends three valid requests at once, and returns the parts of the completions that must not change."""
    plain, chat, streamed = await asyncio.gather(
        served.completions.Complete(raw_request(7)),
        served.completions.Complete(chat_request(8)),
        streamed_completion(served, raw_request(9)),
    )
    return [list(plain.choices), list(chat.choices), *streamed]


async def streamed_completion(served: Served, request: CompleteRequest) -> tuple[str, list[TokenLogprob]]:
    text, logprobs = "", list[TokenLogprob]()
    async for event in served.completions.StreamComplete(StreamCompleteRequest(request=request)):
        text += event.delta.text
        logprobs += event.delta.logprobs
    return text, logprobs


async def code_of(call: Awaitable[object] | AsyncIterable[object]) -> grpc.StatusCode:
    try:
        if isinstance(call, AsyncIterable):
            async for _ in call:
                pass
        else:
            await call
    except grpc.aio.AioRpcError as error:
        return error.code()
    return OK


@asynccontextmanager
async def watched(served: Served) -> AsyncGenerator[None]:
    """Requests the server's health repeatedly while the block runs."""
    is_over = False

    async def watch() -> None:
        while not is_over:
            assert await served.health() == HealthCheckResponse.SERVING

    async with asyncio.timeout(WAIT_S), asyncio.TaskGroup() as tasks:
        tasks.create_task(watch())
        yield
        is_over = True


def logged_codes(caplog: pytest.LogCaptureFixture) -> Counter[str]:
    """The status codes of the calls in the server's log, as a client that cancels does not receive them."""
    return Counter(record.__dict__["fields"]["code"] for record in caplog.records if record.getMessage() == "request")


def logged_errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The errors that were logged in this process, including those of gRPC and asyncio."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


async def test_a_thousand_calls_cancelled_at_random_points_change_no_completion_and_lose_no_slot(
    serve: Serve, chat_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "onward_server")
    generator = random.Random(1)
    async with serve(chat_folder, tool_format="hermes", slots=NUM_SLOTS, max_queue=NUM_CALLS) as served:
        every_slot, expected = (await baseline(served)).choices, await valid_completions(served)
        codes: Counter[grpc.StatusCode] = Counter()
        async with watched(served):
            for _ in range(NUM_CALLS // NUM_AT_ONCE):
                unaffected = asyncio.ensure_future(valid_completions(served))
                codes.update(await asyncio.gather(*(cancelled_call(served, generator) for _ in range(NUM_AT_ONCE))))
                assert await unaffected == expected
        assert (await baseline(served)).choices == every_slot
    assert set(codes) <= {OK, grpc.StatusCode.CANCELLED}
    logged = logged_codes(caplog)
    assert set(logged) == {"OK", "CANCELLED"}
    assert logged["CANCELLED"] > NUM_CALLS / 4
    assert logged_errors(caplog) == []


async def cancelled_call(served: Served, generator: random.Random) -> grpc.StatusCode:
    """Starts a call of a random kind and cancels it, possibly after its end."""
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


async def test_a_thousand_malformed_calls_among_valid_ones_change_no_completion(
    serve: Serve, chat_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    calls = malformed_calls(NUM_CALLS, random.Random(3))
    async with serve(chat_folder, tool_format="hermes", slots=NUM_SLOTS, max_queue=2 * NUM_CALLS) as served:
        every_slot, expected = (await baseline(served)).choices, await valid_completions(served)
        codes: list[grpc.StatusCode] = []
        async with watched(served):
            for first in range(0, NUM_CALLS, NUM_AT_ONCE):
                unaffected = asyncio.ensure_future(valid_completions(served))
                malformed = (served.call_with_bytes(call.method, call.data) for call in calls[first:][:NUM_AT_ONCE])
                codes += await asyncio.gather(*map(code_of, malformed))
                assert await unaffected == expected
        assert (await baseline(served)).choices == every_slot
    assert [wrong for call, code in zip(calls, codes, strict=True) if (wrong := wrong_end(call, code))] == []
    assert codes.count(INVALID) > NUM_CALLS / 2
    assert logged_errors(caplog) == []


def wrong_end(call: MalformedCall, code: grpc.StatusCode) -> str | None:
    """Why the status of a malformed call is wrong; empty if it is right."""
    allowed = {INVALID} if call.is_invalid else {OK, INVALID, grpc.StatusCode.NOT_FOUND}
    return None if code in allowed else f"{call.method} of {call.name} ended with {code.name}"


async def test_every_bad_field_is_named_in_one_status(serve: Serve, tiny_folder: Path) -> None:
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


async def test_a_prompt_longer_than_the_context_window_is_rejected_with_its_figures(
    serve: Serve, tiny_folder: Path
) -> None:
    async with serve(tiny_folder) as served:
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await served.completions.Complete(raw_request(max_tokens=250, text="The tide came in. " * 5))
        info = details(failure.value)["ErrorInfo"]
        assert isinstance(info, ErrorInfo)
        assert info.reason == "CONTEXT_LENGTH_EXCEEDED"
        assert info.metadata["context_length"] == "256"
        assert int(info.metadata["prompt_tokens"]) > 7


async def test_a_text_that_is_too_long_for_the_tokenizer_is_rejected_by_every_method(
    serve: Serve, tiny_folder: Path
) -> None:
    """The tokenizers of Qwen and Llama 3 panic on this text, and the call was never answered."""
    text = " " * 11_000_000
    request = raw_request(text=text)
    async with serve(tiny_folder) as served:
        calls: list[tuple[str, Awaitable[object]]] = [
            ("text", served.tokenizers.Tokenize(TokenizeRequest(text=text))),
            ("raw_prompt.text", served.tokenizers.Tokenize(TokenizeRequest(request=request))),
            ("raw_prompt.text", served.tokenizers.CountTokens(CountTokensRequest(request=request))),
            ("raw_prompt.text", served.completions.Complete(request)),
        ]
        for field, call in calls:
            with pytest.raises(grpc.aio.AioRpcError) as failure:
                await call
            assert failure.value.code() is INVALID
            bad_request = details(failure.value)["BadRequest"]
            assert isinstance(bad_request, BadRequest)
            assert [violation.field for violation in bad_request.field_violations] == [field]


async def test_a_full_queue_rejects_with_a_retry_delay_while_health_is_served(serve: Serve, tiny_folder: Path) -> None:
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
