"""Drops the Markdown code fence that models like to put around JSON output."""

from onward_server.completion.answer.parsing.markers import Markers
from onward_server.completion.answer.parsing.text_stream import Parsing, TextStream

_FENCE_BEGINS = ("```json\n", "```\n")
# A JSON string holds no unescaped newline, so the first line that starts like this is the end of the fence.
_FENCE_END = Markers.of("\n```")


class JsonFence:
    """Takes text in pieces and returns it without the fence, if there is one."""

    def __init__(self) -> None:
        self._stream = TextStream()
        self._kept: list[str] = []
        self._parsing = self._parse()

    def feed(self, text: str) -> str:
        """Takes more text, and returns the part that is now known to be outside the fence."""
        self._stream.feed(text)
        return self._advance()

    def finish(self) -> str:
        """Returns the rest of the text."""
        self._stream.end()
        return self._advance()

    def _parse(self) -> Parsing[None]:
        stream, keep = self._stream, self._kept.append
        space = yield from stream.take_space()
        if (yield from stream.accept(*_FENCE_BEGINS)) is None:
            keep(space)
        else:
            yield from stream.stream_until(_FENCE_END, keep)
            yield from stream.take_space()
        yield from stream.stream_until(Markers.of(), keep)

    def _advance(self) -> str:
        next(self._parsing, None)
        kept = "".join(self._kept)
        self._kept.clear()
        return kept
