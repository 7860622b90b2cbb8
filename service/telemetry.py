"""The form of the log: one line a record, as text or as JSON; it does not know what is logged, or when."""

import json
import logging
import sys
import time
from collections.abc import Mapping
from typing import Literal

_MAX_VALUE_CHARACTERS = 512


def configure_logging(*, level: str, form: Literal["text", "json"]) -> None:
    """Sends every log record to standard error in one form."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def fields(**values: object) -> dict[str, Mapping[str, object]]:
    """The `extra` of a log call: named values beside the message. Strings are clipped, so a caller's labels stay short."""
    return {"fields": values}


class TextFormatter(logging.Formatter):
    """`2026-01-31T12:00:00.123Z INFO service.api.server message key=value key="two words"`."""

    converter = time.gmtime
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def format(self, record: logging.LogRecord) -> str:
        pairs = [f"{name}={_as_text(value)}" for name, value in _fields_of(record).items()]
        parts = [self.formatTime(record), record.levelname, record.name, _one_line(record.getMessage()), *pairs]
        return _with_traceback(self, record, " ".join(parts))


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, then the fields."""

    converter = time.gmtime
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def format(self, record: logging.LogRecord) -> str:
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


def _with_traceback(formatter: logging.Formatter, record: logging.LogRecord, line: str) -> str:
    return f"{line}\n{formatter.formatException(record.exc_info)}" if record.exc_info else line


def _one_line(message: str) -> str:
    """A caller's text in a message must not fake a second line."""
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
