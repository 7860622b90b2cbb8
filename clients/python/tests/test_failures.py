"""Retries, and the exceptions of failed calls. Every test runs for `Client` and for `AsyncClient`."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import BadRequest, QuotaFailure, RetryInfo

from both_clients import Connect
from fake_server import LATER, NEVER, SOON, WAIT_S, Failure, FakeServer, Hang, Step, failure
from onward.v1.error_reason_pb2 import ErrorReason
from onward_client import (
    APIError,
    AuthenticationError,
    CancelledError,
    Client,
    ContextLengthExceededError,
    DeadlineExceededError,
    InternalError,
    InvalidRequestError,
    ModelNotFoundError,
    OnwardError,
    OverloadedError,
    PermissionDeniedError,
    UnavailableError,
)
from responses import events, text_response

Code = grpc.StatusCode

KINDS: list[tuple[Code, str, type[APIError]]] = [
    (Code.INVALID_ARGUMENT, "INVALID_PARAMETER", InvalidRequestError),
    (Code.INVALID_ARGUMENT, "INVALID_MESSAGES", InvalidRequestError),
    (Code.INVALID_ARGUMENT, "INVALID_RESPONSE_FORMAT", InvalidRequestError),
    (Code.INVALID_ARGUMENT, "UNSUPPORTED_BY_MODEL", InvalidRequestError),
    (Code.INVALID_ARGUMENT, "CONTEXT_LENGTH_EXCEEDED", ContextLengthExceededError),
    (Code.NOT_FOUND, "MODEL_NOT_FOUND", ModelNotFoundError),
    (Code.UNAVAILABLE, "MODEL_LOADING", UnavailableError),
    (Code.UNAVAILABLE, "SERVER_DRAINING", UnavailableError),
    (Code.RESOURCE_EXHAUSTED, "QUEUE_FULL", OverloadedError),
    (Code.RESOURCE_EXHAUSTED, "RATE_LIMITED", OverloadedError),
    (Code.RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", OverloadedError),
    (Code.RESOURCE_EXHAUSTED, "MESSAGE_TOO_LARGE", InvalidRequestError),
    (Code.UNAUTHENTICATED, "CREDENTIALS_INVALID", AuthenticationError),
    (Code.PERMISSION_DENIED, "MODEL_NOT_PERMITTED", PermissionDeniedError),
    (Code.INTERNAL, "ENGINE_FAILURE", InternalError),
    (Code.CANCELLED, "", CancelledError),
    (Code.DEADLINE_EXCEEDED, "", DeadlineExceededError),
    (Code.UNIMPLEMENTED, "", APIError),
    (Code.UNKNOWN, "", APIError),
]


@pytest.mark.parametrize(("code", "reason", "kind"), KINDS, ids=lambda value: getattr(value, "name", str(value)))
def test_each_failure_has_its_own_class(
    connect: Connect, server: FakeServer, code: grpc.StatusCode, reason: str, kind: type[APIError]
) -> None:
    server.script.append(failure(code, reason))

    with pytest.raises(APIError) as raised:
        connect(server.target, max_retries=0).complete("Hi")

    error = raised.value
    assert type(error) is kind
    assert (error.code, error.reason, error.domain, error.message) == (code, reason, "onward", "scripted")


def test_the_table_has_every_reason_of_the_protocol() -> None:
    reasons = {name.removeprefix("ERROR_REASON_") for name in ErrorReason.keys()} - {"UNSPECIFIED"}  # noqa: SIM118

    assert reasons == {reason for _, reason, _ in KINDS if reason}


def test_an_error_carries_all_details_of_the_server(client: Client, server: FakeServer) -> None:
    violations = [
        BadRequest.FieldViolation(field="sampling.top_p", description="must be in (0, 1], not 2"),
        BadRequest.FieldViolation(field="n", description="must be in [1, 16], not 99"),
    ]
    server.script.append(
        failure(
            Code.INVALID_ARGUMENT,
            "INVALID_PARAMETER",
            BadRequest(field_violations=violations),
            metadata={"context_length": "512"},
        )
    )

    with pytest.raises(InvalidRequestError) as raised:
        client.complete("Hi", top_p=2, n=99, request_id="mine")

    error = raised.value
    assert [(each.field, each.description) for each in error.field_violations] == [
        ("sampling.top_p", "must be in (0, 1], not 2"),
        ("n", "must be in [1, 16], not 99"),
    ]
    assert (error.request_id, error.metadata) == ("server-id", {"context_length": "512"})
    assert str(error) == (
        "INVALID_ARGUMENT INVALID_PARAMETER: scripted; sampling.top_p: must be in (0, 1], not 2; "
        "n: must be in [1, 16], not 99 (request id server-id)"
    )
    assert isinstance(error.rpc_error, grpc.RpcError)
    assert error.__cause__ is error.rpc_error


def test_details_without_an_attribute_of_their_own_are_kept(connect: Connect, server: FakeServer) -> None:
    quota = QuotaFailure(violations=[QuotaFailure.Violation(subject="key:a", description="60 requests a minute")])
    server.script.append(failure(Code.RESOURCE_EXHAUSTED, "RATE_LIMITED", quota))

    with pytest.raises(OverloadedError) as raised:
        connect(server.target, max_retries=0).complete("Hi")

    unpacked = QuotaFailure()
    assert any(detail.Unpack(unpacked) for detail in raised.value.status.details)
    assert unpacked == quota


def test_retry_after_comes_from_retry_info(connect: Connect, server: FakeServer) -> None:
    delay = RetryInfo(retry_delay=Duration(seconds=2, nanos=500_000_000))
    server.script.append(failure(Code.RESOURCE_EXHAUSTED, "QUEUE_FULL", delay, trailers=NEVER))

    with pytest.raises(OverloadedError) as raised:
        connect(server.target).complete("Hi")

    assert raised.value.retry_after == 2.5


def test_without_retry_info_retry_after_comes_from_the_pushback(connect: Connect, server: FakeServer) -> None:
    trailers = (("grpc-retry-pushback-ms", "1500"),)
    server.script.append(Failure(code=Code.UNAVAILABLE, trailers=trailers))

    with pytest.raises(UnavailableError) as raised:
        connect(server.target, max_retries=0).complete("Hi")

    assert raised.value.retry_after == 1.5


def test_a_failure_without_details_keeps_the_request_id_that_was_sent(client: Client, server: FakeServer) -> None:
    server.script.append(Failure(code=Code.INTERNAL))

    with pytest.raises(InternalError) as raised:
        client.complete("Hi", request_id="mine")

    error = raised.value
    assert (error.request_id, error.reason, error.retry_after, error.field_violations) == ("mine", "", None, ())
    assert str(error) == "INTERNAL: scripted (request id mine)"


@pytest.mark.parametrize("code", [Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED], ids=lambda code: code.name)
def test_a_call_to_an_overloaded_server_is_retried(client: Client, server: FakeServer, code: grpc.StatusCode) -> None:
    server.script.extend([Failure(code=code, trailers=SOON)] * 3)
    server.script.append(text_response("Hello."))

    assert client.complete("Hi", request_id="mine").text == "Hello."
    assert [seen.metadata["x-request-id"] for seen in server.seen] == ["mine"] * 4


def test_a_server_that_says_when_to_come_back_is_asked_again_until_it_accepts(
    client: Client, server: FakeServer
) -> None:
    """The throttle of gRPC's service config stopped all retries of a client after a burst of refusals."""
    server.script.extend([failure(Code.RESOURCE_EXHAUSTED, "QUEUE_FULL", trailers=SOON)] * 6)
    server.script.append(text_response("Hello."))

    assert client.complete("Hi").text == "Hello."


def test_an_error_says_how_often_the_call_was_tried(client: Client, server: FakeServer) -> None:
    server.script.extend([failure(Code.RESOURCE_EXHAUSTED, "QUEUE_FULL", trailers=SOON)] * 3)
    server.script.append(failure(Code.INTERNAL, "ENGINE_FAILURE"))

    with pytest.raises(InternalError) as raised:
        client.complete("Hi")

    assert raised.value.attempts == 4
    assert str(raised.value).endswith(" (tried 4 times, request id server-id)")


def test_a_refusal_whose_delay_is_longer_than_the_timeout_is_told_at_once(client: Client, server: FakeServer) -> None:
    """GRPC waited, and then reported DEADLINE_EXCEEDED instead of the reason."""
    server.script.extend([failure(Code.RESOURCE_EXHAUSTED, "QUEUE_FULL", trailers=LATER)] * 2)

    with pytest.raises(OverloadedError) as raised:
        client.complete("Hi", timeout=50)

    assert (raised.value.attempts, raised.value.retry_after) == (1, 60)


@pytest.mark.parametrize("retries", [0, 1, 4, 6])
def test_a_call_can_set_its_number_of_retries(client: Client, server: FakeServer, retries: int) -> None:
    server.script.extend([Failure(code=Code.UNAVAILABLE, trailers=SOON)] * 8)

    with pytest.raises(UnavailableError) as raised:
        client.complete("Hi", max_retries=retries)

    assert len(server.seen) == raised.value.attempts == 1 + retries


def test_closing_the_client_ends_a_wait_between_attempts(server: FakeServer) -> None:
    server.script.append(failure(Code.RESOURCE_EXHAUSTED, "QUEUE_FULL", trailers=LATER))

    with Client(server.target) as client, ThreadPoolExecutor() as pool:
        waiting = pool.submit(client.complete, "Hi", timeout=100)
        assert server.called.wait(WAIT_S)
        assert server.seen[0].ended.wait(WAIT_S)
        client.close()

        with pytest.raises(OnwardError, match="closed"):
            waiting.result(WAIT_S)


def test_the_server_can_forbid_a_retry(client: Client, server: FakeServer) -> None:
    server.script.extend([failure(Code.RESOURCE_EXHAUSTED, "RATE_LIMITED", trailers=NEVER)] * 2)

    with pytest.raises(OverloadedError):
        client.complete("Hi")

    assert len(server.seen) == 1


@pytest.mark.parametrize("code", [Code.INTERNAL, Code.INVALID_ARGUMENT, Code.UNKNOWN], ids=lambda code: code.name)
def test_other_failures_are_not_retried(client: Client, server: FakeServer, code: grpc.StatusCode) -> None:
    server.script.extend([Failure(code=code, trailers=SOON)] * 2)

    with pytest.raises(APIError):
        client.complete("Hi")

    assert len(server.seen) == 1


def test_a_call_with_a_long_prompt_is_retried(client: Client, server: FakeServer) -> None:
    server.script.append(Failure(code=Code.UNAVAILABLE, trailers=SOON))
    server.script.append(text_response("Hello."))

    assert client.complete("a" * 2_000_000).text == "Hello."


def test_a_request_over_the_size_limit_is_not_an_overload(connect: Connect, server: FakeServer) -> None:
    with pytest.raises(APIError, match="CLIENT: Sent message larger than max") as raised:
        connect(server.target, max_retries=0).complete("a" * 17_000_000)

    assert type(raised.value) is APIError
    assert raised.value.code is Code.RESOURCE_EXHAUSTED


def test_a_stream_is_retried_before_its_first_event(client: Client, server: FakeServer) -> None:
    server.script.append(Failure(code=Code.UNAVAILABLE, trailers=SOON))
    server.script.append([*events(text_response("Hello."))])

    with client.stream("Hi") as stream:
        assert "".join(stream.text) == "Hello."


def test_a_stream_is_not_retried_after_its_first_event(client: Client, server: FakeServer) -> None:
    begun = events(text_response("Hello."))[:2]
    server.script.append([*begun, Failure(code=Code.UNAVAILABLE, trailers=SOON)])
    server.script.append([*events(text_response("Again."))])

    with client.stream("Hi") as stream:
        with pytest.raises(UnavailableError):
            stream.final()
        assert stream.snapshot.text == "Hel"

    assert len(server.seen) == 1


def test_a_call_that_takes_too_long_is_canceled_at_the_server(client: Client, server: FakeServer) -> None:
    for timeout in longer_timeouts(server, Hang()):
        with pytest.raises(DeadlineExceededError) as raised:
            client.complete("Hi", timeout=timeout, request_id="mine")
        assert raised.value.request_id == "mine"

    assert server.seen[0].ended.wait(WAIT_S)


def test_a_stream_that_takes_too_long_is_canceled_at_the_server(client: Client, server: FakeServer) -> None:
    for timeout in longer_timeouts(server, [*events(text_response("Hello."))[:2], Hang()]):
        with client.stream("Hi", timeout=timeout) as stream, pytest.raises(DeadlineExceededError):
            stream.final()

    assert server.seen[0].ended.wait(WAIT_S)


def longer_timeouts(server: FakeServer, step: Step | list[Step]) -> Iterator[float]:
    """Short timeouts, each longer than the last, until a call reaches the server before its own passes."""
    timeout = 0.05
    while not server.seen:
        server.script.append(step)
        yield timeout
        timeout *= 4


def test_every_failure_is_an_onward_error(connect: Connect, server: FakeServer) -> None:
    server.stop()

    with pytest.raises(OnwardError, match="request id mine"):
        connect(server.target, max_retries=0).complete("Hi", request_id="mine")
