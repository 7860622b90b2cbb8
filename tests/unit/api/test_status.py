import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RequestInfo, ResourceInfo, RetryInfo
from google.rpc.status_pb2 import Status

from onward.v1.error_reason_pb2 import ErrorReason
from onward_server.api.status import DeadlineExceeded, ResponseTooLarge, UnknownMethod, failure, status_and_trailers
from onward_server.errors import (
    CredentialsInvalid,
    EngineFailed,
    EngineOverloaded,
    FieldViolation,
    InvalidReason,
    InvalidRequest,
    LogitsNotFinite,
    ModelNotFound,
    ServerDraining,
)

CLIENT_METADATA_LIMIT = 8192
TOO_LARGE = ResponseTooLarge(message_bytes=2048, max_message_bytes=1024)
OVERLOADED = EngineOverloaded(queue_depth=64, queue_limit=64, retry_after_s=2.0)


def sent(error: Exception) -> tuple[str, Status, dict[str, str | bytes]]:
    message, trailers = status_and_trailers(failure(error), "id-1")
    found = dict(trailers)
    assert len(found) == len(trailers)
    details = found["grpc-status-details-bin"]
    assert isinstance(details, bytes)
    return message, Status.FromString(details), found


def kinds(status: Status) -> list[str]:
    return [detail.type_url.rpartition(".")[2] for detail in status.details]


@pytest.mark.parametrize(
    ("error", "code", "reason", "further"),
    [
        (InvalidRequest.of("n", "no"), grpc.StatusCode.INVALID_ARGUMENT, "INVALID_PARAMETER", ["BadRequest"]),
        (
            InvalidRequest.of("messages", "no", InvalidReason.INVALID_MESSAGES),
            grpc.StatusCode.INVALID_ARGUMENT,
            "INVALID_MESSAGES",
            ["BadRequest"],
        ),
        (ModelNotFound("x", ["a"]), grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND", ["ResourceInfo"]),
        (CredentialsInvalid("no"), grpc.StatusCode.UNAUTHENTICATED, "CREDENTIALS_INVALID", []),
        (OVERLOADED, grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL", ["RetryInfo"]),
        (ServerDraining(), grpc.StatusCode.UNAVAILABLE, "SERVER_DRAINING", ["RetryInfo"]),
        (TOO_LARGE, grpc.StatusCode.RESOURCE_EXHAUSTED, "MESSAGE_TOO_LARGE", []),
        (EngineFailed("boom"), grpc.StatusCode.UNAVAILABLE, "ENGINE_FAILURE", ["RetryInfo"]),
        (LogitsNotFinite(float("nan")), grpc.StatusCode.INTERNAL, "ENGINE_FAILURE", []),
        (ZeroDivisionError("boom"), grpc.StatusCode.INTERNAL, "ENGINE_FAILURE", []),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_each_error_has_the_status_of_its_row(
    error: Exception, code: grpc.StatusCode, reason: str, further: list[str]
) -> None:
    message, status, trailers = sent(error)

    info = ErrorInfo()
    status.details[kinds(status).index("ErrorInfo")].Unpack(info)
    request_info = RequestInfo()
    status.details[0].Unpack(request_info)
    assert (status.code, status.message) == (code.value[0], message)
    assert (info.reason, info.domain) == (reason, "onward")
    assert f"ERROR_REASON_{reason}" in ErrorReason.keys()  # noqa: SIM118  an enum, not a dict
    assert request_info.request_id == trailers["x-request-id"] == "id-1"
    assert sorted(kinds(status)) == sorted(["RequestInfo", "ErrorInfo", *further])


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (DeadlineExceeded(600), grpc.StatusCode.DEADLINE_EXCEEDED),
        (UnknownMethod(), grpc.StatusCode.UNIMPLEMENTED),
    ],
    ids=["deadline", "unknown method"],
)
def test_an_error_without_a_reason_has_a_request_id(error: Exception, code: grpc.StatusCode) -> None:
    _, status, _ = sent(error)

    assert status.code == code.value[0]
    assert kinds(status) == ["RequestInfo"]


@pytest.mark.parametrize("reason", InvalidReason)
def test_every_reason_for_an_invalid_request_is_in_the_protocol(reason: InvalidReason) -> None:
    assert f"ERROR_REASON_{reason.value}" in ErrorReason.keys()  # noqa: SIM118  an enum, not a dict


@pytest.mark.parametrize("error", [EngineFailed("canary"), ValueError("canary"), KeyError("canary")])
def test_the_text_of_an_unexpected_error_is_not_sent(error: Exception) -> None:
    message, trailers = status_and_trailers(failure(error), "id-1")

    assert "canary" not in repr((message, trailers))


def test_every_bad_field_is_named_with_its_own_reason() -> None:
    error = InvalidRequest(
        [
            FieldViolation(field="n", description="too large"),
            FieldViolation(field="tools", description="none here", reason=InvalidReason.UNSUPPORTED_BY_MODEL),
        ],
        {"context_length": "10"},
    )

    _, status, _ = sent(error)

    info, bad_request = ErrorInfo(), BadRequest()
    status.details[1].Unpack(info)
    status.details[2].Unpack(bad_request)
    assert dict(info.metadata) == {"context_length": "10"}
    assert [(v.field, v.description, v.reason) for v in bad_request.field_violations] == [
        ("n", "too large", "INVALID_PARAMETER"),
        ("tools", "none here", "UNSUPPORTED_BY_MODEL"),
    ]


def test_the_status_of_an_unknown_model_lists_those_that_exist() -> None:
    _, status, _ = sent(ModelNotFound("x", ["a", "b"]))

    resource, info = ResourceInfo(), ErrorInfo()
    status.details[1].Unpack(resource)
    status.details[2].Unpack(info)
    assert (resource.resource_type, resource.resource_name) == ("onward.v1.Model", "x")
    assert info.metadata["available"] == "a, b"


def test_the_retry_delay_is_the_same_in_details_and_trailer_and_has_jitter() -> None:
    delays: set[int] = set()
    for _ in range(100):
        _, status, trailers = sent(OVERLOADED)
        retry = RetryInfo()
        status.details[1].Unpack(retry)
        delay_ms = int(str(trailers["grpc-retry-pushback-ms"]))
        assert retry.retry_delay.ToMilliseconds() == delay_ms
        assert 1500 <= delay_ms <= 2800
        delays.add(delay_ms)

    assert len(delays) > 1


@pytest.mark.parametrize("error", [InvalidRequest.of("n", "no"), LogitsNotFinite(float("nan")), ZeroDivisionError()])
def test_an_error_that_a_retry_cannot_help_has_no_retry_delay(error: Exception) -> None:
    _, status, trailers = sent(error)

    assert "grpc-retry-pushback-ms" not in trailers
    assert "RetryInfo" not in kinds(status)


@pytest.mark.parametrize(
    "error",
    [
        InvalidRequest([FieldViolation(field=f"messages[{i}].role", description="語" * 1000) for i in range(5000)]),
        InvalidRequest.of("x" * 100_000, "y" * 100_000),
        ModelNotFound("m" * 100_000, ["a" * 100] * 1000),
    ],
    ids=["many violations", "long violation", "long model name"],
)
def test_a_status_fits_the_metadata_that_a_client_accepts(error: Exception) -> None:
    message, _, trailers = sent(error)

    details = trailers["grpc-status-details-bin"]
    percent_encoded = sum(3 if byte > 0x7E else 1 for byte in message.encode())
    assert len(details) * 4 / 3 + percent_encoded < CLIENT_METADATA_LIMIT


def test_violations_that_do_not_fit_are_counted() -> None:
    _, status, _ = sent(InvalidRequest([FieldViolation(field="f", description="x" * 400)] * 100))

    info, bad_request = ErrorInfo(), BadRequest()
    status.details[1].Unpack(info)
    status.details[2].Unpack(bad_request)
    assert len(bad_request.field_violations) + int(info.metadata["omitted_violations"]) == 100
    assert len(bad_request.field_violations) > 1
