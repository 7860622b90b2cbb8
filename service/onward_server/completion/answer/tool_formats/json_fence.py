"""Drops the code fence that models like to put around a JSON answer; it does not look at the JSON."""

from onward_server.completion.answer.tool_formats.reader import Marks, Reader, Reading

_FENCE_BEGINS = ("```json\n", "```\n")
# JSON has no bare newline in a string, so the first such line is the fence's end.
_FENCE_END = Marks.of("\n```")


class JsonFence:
    """Text in, text without the fence out."""

    def __init__(self) -> None:
        self._reader = Reader()
        self._kept: list[str] = []
        self._reading = self._read()

    def feed(self, text: str) -> str:
        self._reader.feed(text)
        next(self._reading, None)
        return self._take()

    def finish(self) -> str:
        self._reader.end()
        next(self._reading, None)
        return self._take()

    def _read(self) -> Reading[None]:
        reader, keep = self._reader, self._kept.append
        space = yield from reader.space()
        if (yield from reader.accept(*_FENCE_BEGINS)) is None:
            keep(space)
        else:
            yield from reader.stream_until(_FENCE_END, keep)
            yield from reader.space()
        yield from reader.stream_until(Marks.of(), keep)

    def _take(self) -> str:
        kept = "".join(self._kept)
        self._kept.clear()
        return kept
