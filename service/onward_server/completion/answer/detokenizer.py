"""Token ids to text, one answer at a time; it does not know what the text means."""

import codecs

from onward_server.model.tokenizer import Tokenizer


class Detokenizer:
    """Turns the tokens of one answer into text as they come; the pieces joined are the text of the whole."""

    def __init__(self, tokenizer: Tokenizer, *, at_text_start: bool, visible: frozenset[int] = frozenset()) -> None:
        """Begins an answer.

        Args:
            tokenizer: The model's.
            at_text_start: Nothing but special tokens comes before, so a space that encoders put there is dropped.
            visible: Special tokens whose text is kept.
        """
        self._tokenizer = tokenizer
        self._hidden = tokenizer.special_ids - visible
        self._drops_space = at_text_start and tokenizer.has_space_before_text
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def add(self, token_id: int) -> str:
        """Text that is complete with this token; never half a character."""
        if token_id in self._hidden:
            return ""
        data = self._tokenizer.token_bytes(token_id)
        if self._drops_space and data:
            self._drops_space = False
            data = data.removeprefix(b" ")
        return self._decoder.decode(data)

    def finish(self) -> str:
        """The rest: a replacement character where the answer ends inside a character."""
        return self._decoder.decode(b"", final=True)
