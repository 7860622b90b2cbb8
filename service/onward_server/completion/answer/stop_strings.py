"""Finds stop strings in text that comes in pieces; it does not know tokens."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(slots=True, kw_only=True)
class Scanned:
    """What a piece of text made certain. Not frozen, for speed: there is one for every token."""

    text: str
    """Safe to emit: no stop string can begin in it any more."""
    stop: str | None = None
    """The stop string that ended the answer."""


class StopScanner:
    """Watches one answer for stop strings.

    The stop string that is complete first wins, the longest of those that end together, so the result does not depend
    on how the text is cut into pieces. Text that may begin a stop string is held back.
    """

    def __init__(self, stops: Sequence[str], *, include_stop: bool) -> None:
        self._stops = tuple(stops)
        self._include_stop = include_stop
        self._held = ""

    def feed(self, text: str, *, may_stop: bool = True) -> Scanned:
        """Takes the next piece, until one stops; with `may_stop` false a stop string that ends in it is plain text."""
        if not self._stops:
            return Scanned(text=text)
        buffer = self._held + text
        if may_stop and (match := self._first_match(buffer, len(self._held))):
            start, stop = match
            self._held = ""
            return Scanned(text=buffer[: start + len(stop) if self._include_stop else start], stop=stop)
        certain = min((_partial_match(buffer, stop) for stop in self._stops), default=len(buffer))
        self._held = buffer[certain:]
        return Scanned(text=buffer[:certain])

    def finish(self) -> str:
        """The text still held back, when the answer ends otherwise."""
        held, self._held = self._held, ""
        return held

    def _first_match(self, buffer: str, new: int) -> tuple[int, str] | None:
        """Start and text of the first stop string that ends after position `new`."""
        matches = ((buffer.find(stop, max(0, new + 1 - len(stop))), stop) for stop in self._stops)
        return min(
            ((start, stop) for start, stop in matches if start >= 0),
            key=lambda match: (match[0] + len(match[1]), match[0]),
            default=None,
        )


def _partial_match(buffer: str, stop: str) -> int:
    """Where the longest end of `buffer` begins that is a proper beginning of `stop`; its length where none is."""
    start = max(0, len(buffer) + 1 - len(stop))
    while (start := buffer.find(stop[0], start)) >= 0:
        if stop.startswith(buffer[start:]):
            return start
        start += 1
    return len(buffer)
