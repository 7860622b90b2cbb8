"""Finds stop strings in text that arrives in pieces."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(slots=True, kw_only=True)
class StopScan:
    """The result of scanning one piece of text. Not frozen, for speed: there is one for every token."""

    text: str
    """Text that is safe to emit, as no stop string can begin in it."""
    stop: str | None = None
    """The stop string that ends the choice; None: the choice goes on."""


class StopScanner:
    """Scans the text of one choice for stop strings.

    The stop string that is complete first ends the choice; if several end at the same place, the longest does. The
    result thus does not depend on how the text is split into pieces. Text that may begin a stop string is held back.
    """

    def __init__(self, stops: Sequence[str], *, include_stop: bool) -> None:
        self._stops = tuple(stops)
        self._include_stop = include_stop
        self._held = ""

    def feed(self, text: str, *, may_stop: bool = True) -> StopScan:
        """Takes the next piece of text. With `may_stop` false, a stop string that ends in it is ordinary text."""
        if not self._stops:
            return StopScan(text=text)
        buffer = self._held + text
        if may_stop and (match := self._first_match(buffer, len(self._held))):
            start, stop = match
            self._held = ""
            return StopScan(text=buffer[: start + len(stop) if self._include_stop else start], stop=stop)
        certain = min((_partial_match(buffer, stop) for stop in self._stops), default=len(buffer))
        self._held = buffer[certain:]
        return StopScan(text=buffer[:certain])

    def finish(self) -> str:
        """Returns the text that is still held back, when the choice ends for another reason."""
        held, self._held = self._held, ""
        return held

    def _first_match(self, buffer: str, new: int) -> tuple[int, str] | None:
        """Returns start and text of the first stop string that ends after position `new`."""
        matches = ((buffer.find(stop, max(0, new + 1 - len(stop))), stop) for stop in self._stops)
        return min(
            ((start, stop) for start, stop in matches if start >= 0),
            key=lambda match: (match[0] + len(match[1]), match[0]),
            default=None,
        )


def _partial_match(buffer: str, stop: str) -> int:
    """Returns where the longest suffix of `buffer` that is a proper prefix of `stop` starts, or `len(buffer)`."""
    start = max(0, len(buffer) + 1 - len(stop))
    while (start := buffer.find(stop[0], start)) >= 0:
        if stop.startswith(buffer[start:]):
            return start
        start += 1
    return len(buffer)
