"""docs/errors.md says what the server sends."""

from pathlib import Path

import grpc
import pytest

from onward.v1.error_reason_pb2 import ErrorReason
from onward_server.api.errors_page import Reason, page, reasons
from onward_server.api.status import PUSHBACK, Failure, ResponseTooLarge, failure, status_and_trailers
from onward_server.completion.context_window import tokens_left
from onward_server.domain import CompletionRequest
from onward_server.errors import (
    CredentialsInvalid,
    EngineFailed,
    EngineOverloaded,
    InvalidReason,
    InvalidRequest,
    ModelNotFound,
    ModelsLoading,
    ServerDraining,
)

ROOT = Path(__file__).parents[3]
PROTO = ROOT / "proto/onward/v1/error_reason.proto"
REASONS = {reason.name: reason for reason in reasons(PROTO)}
NEVER_SENT = {"RATE_LIMITED", "OUT_OF_MEMORY", "MODEL_NOT_PERMITTED"}


def too_long(*, is_lower_bound: bool) -> InvalidRequest:
    """The error for a prompt that does not fit."""
    with pytest.raises(InvalidRequest) as caught:
        tokens_left(CompletionRequest(), 8, 9, is_lower_bound=is_lower_bound)
    return caught.value


SENT = [
    *(InvalidRequest.of("n", "no", reason) for reason in InvalidReason if reason.value != "CONTEXT_LENGTH_EXCEEDED"),
    too_long(is_lower_bound=False),
    too_long(is_lower_bound=True),
    ModelNotFound("x", ["a"]),
    CredentialsInvalid("no"),
    EngineOverloaded(queue_depth=1, queue_limit=1, retry_after_s=1.0),
    ServerDraining(),
    ModelsLoading(1.0),
    ResponseTooLarge(message_bytes=2, max_message_bytes=1),
    EngineFailed("boom"),
    ZeroDivisionError("boom"),
]


def test_the_page_is_generated_from_the_protocol_and_the_code() -> None:
    """`make generate` writes the page."""
    assert (ROOT / "docs/errors.md").read_text(encoding="utf-8") == page(PROTO)


def test_every_reason_has_a_row() -> None:
    assert {f"ERROR_REASON_{name}" for name in REASONS} == set(ErrorReason.keys()) - {"ERROR_REASON_UNSPECIFIED"}


def test_every_reason_is_sent_or_said_never_to_be() -> None:
    said = {name for name, reason in REASONS.items() if "never sends it" in reason.meaning}

    assert said == NEVER_SENT
    assert {failure(error).reason for error in SENT} == REASONS.keys() - NEVER_SENT


@pytest.mark.parametrize("error", SENT, ids=lambda error: failure(error).reason)
def test_a_row_has_the_code_the_retry_and_the_metadata_that_are_sent(error: Exception) -> None:
    failed = failure(error)
    row = REASONS[failed.reason]

    assert failed.code.name in row.codes
    assert retries(failed) is may_retry(row, failed.code)
    assert len(failed.metadata) == len(row.metadata)
    assert all(any(key in alternatives.split(" or ") for alternatives in row.metadata) for key in failed.metadata)


def retries(failed: Failure) -> bool:
    """Whether the status tells clients to come back."""
    _, trailers = status_and_trailers(failed, "id-1")
    return str(dict(trailers).get(PUSHBACK, "-1")) != "-1"


def may_retry(row: Reason, code: grpc.StatusCode) -> bool:
    """What the row says of the code."""
    (rule,) = (part for part in row.retry.split("; ") if len(row.codes) == 1 or part.startswith(code.name))
    return "google.rpc.RetryInfo" in rule


def test_a_comment_of_another_form_is_an_error(tmp_path: Path) -> None:
    proto = tmp_path / "error_reason.proto"
    proto.write_text("  // INTERNAL. Broken.\n  ERROR_REASON_BROKEN = 1;\n")

    with pytest.raises(ValueError, match="ERROR_REASON_BROKEN: the comment is not"):
        reasons(proto)
