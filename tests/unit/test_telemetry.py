import json
import logging
import sys
from collections.abc import Callable

import pytest

from onward_server.telemetry import JsonFormatter, TextFormatter, configure_logging, fields
from testing.fakes_completion import FakeCompleter
from tests.raw_http2 import COMPLETE, EMPTY_MESSAGE, END_STREAM, Kind, frame, http2, request
from tests.serving import serving

MOMENT = 1_700_000_000.123
FORMATTERS = [TextFormatter(), JsonFormatter()]


def record(message: str, *arguments: object, **values: object) -> logging.LogRecord:
    made = logging.LogRecord("onward_server.x", logging.INFO, __file__, 1, message, arguments, None)
    made.__dict__.update(fields(**values), created=MOMENT, msecs=123.0)
    return made


def failed(raise_it: Callable[[], None]) -> logging.LogRecord:
    made = record("it failed")
    try:
        raise_it()
    except KeyError:
        made.exc_info = sys.exc_info()
    return made


def test_a_text_line_has_the_message_then_the_fields() -> None:
    line = TextFormatter().format(
        record("hello %s", "you", count=3, queue_s=0.25, name="two words", empty="", none=None, reasons=["stop"])
    )

    assert line == (
        "2023-11-14T22:13:20.123Z INFO onward_server.x hello you "
        'count=3 queue_s=0.250 name="two words" empty="" none=null reasons=["stop"]'
    )


def test_a_json_line_is_one_object() -> None:
    line = JsonFormatter().format(record("hello", count=3, user="é\n", metadata={"k": "v"}))

    assert "\n" not in line
    assert json.loads(line) == {
        "time": "2023-11-14T22:13:20.123Z",
        "level": "INFO",
        "logger": "onward_server.x",
        "message": "hello",
        "count": 3,
        "user": "é\n",
        "metadata": {"k": "v"},
    }


@pytest.mark.parametrize("text", ["a\nb", "a\r\nb", 'a" b=c', "a\x1b[31m"])
def test_a_callers_text_cannot_fake_a_line_or_a_field(text: str) -> None:
    line = TextFormatter().format(record("%s", text, user=text))

    assert "\n" not in line
    assert "\r" not in line
    assert f"user={json.dumps(text)}" in line


@pytest.mark.parametrize("formatter", FORMATTERS, ids=lambda formatter: type(formatter).__name__)
def test_a_long_value_is_clipped(formatter: logging.Formatter) -> None:
    line = formatter.format(record("x", user="y" * 10_000))

    assert 512 <= line.count("y") < 600


def raise_with_cause() -> None:
    try:
        int("canary")
    except ValueError as error:
        raise KeyError("canary") from error


def raise_while_handling() -> None:
    try:
        int("canary")
    except ValueError:
        raise KeyError("canary")  # noqa: B904  the case that is tested


@pytest.mark.parametrize("formatter", FORMATTERS, ids=lambda formatter: type(formatter).__name__)
@pytest.mark.parametrize("raise_it", [raise_with_cause, raise_while_handling])
def test_an_exception_is_logged_without_its_text(
    formatter: logging.Formatter, raise_it: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    """The text may quote a prompt; source lines, which a traceback shows, hold no values."""
    caplog.set_level(logging.INFO)

    text = formatter.format(failed(raise_it))

    assert text.index("ValueError") < text.index("KeyError")
    assert "invalid literal" not in text
    assert "KeyError: 'canary'" not in text


def test_an_exception_is_logged_with_its_text_when_debugging(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    assert "KeyError: 'canary'" in TextFormatter().format(failed(raise_with_cause))


def test_records_of_the_level_and_above_go_to_standard_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(logging.root, "handlers", [])
    monkeypatch.setattr(logging.root, "level", logging.NOTSET)
    configure_logging(level="warning", form="json")

    logging.getLogger("onward_server.x").info("quiet")
    logging.getLogger("onward_server.x").warning("loud")

    captured = capsys.readouterr()
    assert captured.out == ""
    assert [json.loads(line)["message"] for line in captured.err.splitlines()] == ["loud"]


@pytest.fixture
def own_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gives the root logger back its handlers and level after the test."""
    monkeypatch.setattr(logging.root, "handlers", [])
    monkeypatch.setattr(logging.root, "level", logging.root.level)


@pytest.mark.usefixtures("own_root")
async def test_metadata_that_is_not_utf_8_is_not_logged(capsys: pytest.CaptureFixture[str]) -> None:
    """By default, gRPC logs such a value, which may be an API key."""
    configure_logging(level="info", form="text")
    async with serving(FakeCompleter()) as served, http2(served.server.address) as connection:
        await connection.send(request(1, COMPLETE, (b"authorization", b"Bearer canary\xf9")))
        await connection.send(frame(Kind.DATA, EMPTY_MESSAGE, stream=1, flags=END_STREAM))
        await connection.is_answered(1)
    written = capsys.readouterr().err

    assert "CompletionService/Complete" in written
    assert "canary" not in written
