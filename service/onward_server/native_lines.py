"""Log records of what native libraries, such as ONNX Runtime and gRPC, write to stderr themselves."""

import logging
import os
import re
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import BinaryIO

logger = logging.getLogger(__name__)

_MAX_LINE_BYTES = 1 << 16
_END_S = 1.0
"""Time for the last lines to be logged. A child process that still has the pipe open must not delay the exit."""
_STDERR = 2
_COLOR = re.compile(rb"\x1b\[[0-9;]*m")
_SEVERITY = re.compile(rb"(?:^|\[)([VIWEF])(?:[0-9]{4} |:onnxruntime)")
"""Of a line of gRPC, `E1130 17:07:03.201737 ...`, and of ONNX Runtime, `... [W:onnxruntime:, ...] ...`."""
_LEVELS = {b"V": logging.DEBUG, b"I": logging.INFO, b"W": logging.WARNING, b"E": logging.ERROR, b"F": logging.CRITICAL}


@contextmanager
def logged_native_lines() -> Generator[None]:
    """Makes a log record of each line that is written to file descriptor 2 while the block runs.

    From then on, `sys.stderr` writes to the original stderr by another descriptor, so logging has to be configured in
    the block. Lines that a library writes just before it crashes may be lost.
    """
    original = os.dup(_STDERR)
    read_end, write_end = os.pipe()
    os.dup2(write_end, _STDERR)
    os.close(write_end)
    sys.stderr = os.fdopen(original, "w", buffering=1, encoding="utf-8", errors="backslashreplace")
    with os.fdopen(read_end, "rb") as lines:
        reader = threading.Thread(target=_log_lines, args=(lines,), name="native-lines", daemon=True)
        reader.start()
        try:
            yield
        finally:
            os.dup2(original, _STDERR)  # closes the last write end, so that the reader finds the end
            reader.join(_END_S)


def _log_lines(lines: BinaryIO) -> None:
    while line := lines.readline(_MAX_LINE_BYTES):
        if text := _COLOR.sub(b"", line).strip():
            found = _SEVERITY.search(text[:200])
            logger.log(_LEVELS[found[1]] if found else logging.WARNING, "%s", text.decode(errors="backslashreplace"))
