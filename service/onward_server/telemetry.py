"""The log: a line on stderr for each record, as text or as JSON.

Exceptions are written as types and source lines. Their messages may quote a prompt, so only DEBUG writes them.
"""

import json
import logging
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from types import TracebackType
from typing import Literal, TextIO

logger = logging.getLogger(__name__)

_MAX_VALUE_CHARACTERS = 512
_ExceptionInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


console = logging.getLogger("onward")
"""For what the operator must see at any log level: why the server does not start, and how to call it.

As text, its records are plain sentences.
"""


def configure_logging(*, level: str, form: Literal["text", "json"]) -> None:
    """Sends all log records of at least this level to stderr, as text or as JSON."""
    handler = _LineHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("grpc._cython.cygrpc").addFilter(_shows_no_metadata)
    console.setLevel(logging.INFO)


def log_uncaught_exceptions() -> None:
    """Logs what Python would print to stderr itself: warnings, and exceptions that nothing catches."""
    logging.captureWarnings(capture=True)
    sys.excepthook = _log_fatal
    sys.unraisablehook = lambda found: _log_uncaught(found.exc_type, found.exc_value, found.exc_traceback)
    threading.excepthook = lambda found: _log_uncaught(found.exc_type, found.exc_value, found.exc_traceback)


def fields(**values: object) -> dict[str, Mapping[str, object]]:
    """The `extra` of a log call: named values after the message. Strings over 512 characters are clipped."""
    return {"fields": values}


def _shows_no_metadata(record: logging.LogRecord) -> bool:
    """Drops the record with which gRPC shows metadata that is not UTF-8; it may be an API key."""
    return not str(record.msg).startswith("Invalid encoding")


class _LineHandler(logging.StreamHandler[TextIO]):
    """Writes lines, and drops those that cannot be written: a full disk or a closed pipe must not end the server."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  logging's name
        """Logs an error of formatting in place of the record."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError) and not self.stream.closed:
            logger.error(
                "cannot format a record of %s, line %d: %s", record.pathname, record.lineno, type(error).__name__
            )


def _log_fatal(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Logs the exception that ends the process, with its message: exceptions of requests never get here."""
    logger.critical("%s: %s", kind.__qualname__, error, exc_info=(kind, error, trace))


def _log_uncaught(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    logger.error("uncaught exception", exc_info=(kind, error or kind(), trace))


class _Formatter(logging.Formatter):
    """UTC times, and exceptions without their messages."""

    converter = time.gmtime
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def formatException(self, ei: _ExceptionInfo) -> str:  # noqa: N802  logging's name
        """Types and source lines, first cause first; the full traceback at DEBUG."""
        if logging.getLogger().isEnabledFor(logging.DEBUG):
            return super().formatException(ei)
        return "\n".join(_without_text(ei[1]))


class TextFormatter(_Formatter):
    """`2026-01-31T12:00:00.123Z INFO onward_server.api.server message key=value key="two words"`."""

    def format(self, record: logging.LogRecord) -> str:
        """The record in one line, followed by its traceback."""
        if record.name == console.name:
            return f"onward: {record.getMessage()}" if record.levelno > logging.INFO else record.getMessage()
        pairs = [f"{name}={_as_text(value)}" for name, value in _fields_of(record).items()]
        line = " ".join(
            [self.formatTime(record), record.levelname, record.name, _one_line(record.getMessage()), *pairs]
        )
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonFormatter(_Formatter):
    """A JSON object per line: time, level, logger, message, fields, and `traceback` if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """The record in one line."""
        line: dict[str, object] = {
            "time": self.formatTime(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **{name: _clipped(value) for name, value in _fields_of(record).items()},
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def _fields_of(record: logging.LogRecord) -> Mapping[str, object]:
    found: Mapping[str, object] = record.__dict__.get("fields", {})
    return found


def _without_text(error: BaseException | None) -> list[str]:
    if error is None:
        return []
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    frames = "".join(traceback.format_tb(error.__traceback__))
    return [*_without_text(cause), f"Traceback (messages at log level debug):\n{frames}{type(error).__qualname__}"]


def _one_line(message: str) -> str:
    """Escapes line breaks, so that text from a caller cannot forge a second line."""
    return message.replace("\r", "\\r").replace("\n", "\\n")


def _clipped(value: object) -> object:
    if isinstance(value, str) and len(value) > _MAX_VALUE_CHARACTERS:
        return value[:_MAX_VALUE_CHARACTERS] + "…"
    return value


def _as_text(value: object) -> str:
    value = _clipped(value)
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, str) and value and value.isprintable() and not set(value) & set(' "='):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)
