"""Converts the sampled tokens of one choice to text."""

import codecs

from onward_server.model.tokenizer import Tokenizer


class Detokenizer:
    """Returns text token by token; the pieces joined equal the decoded whole."""

    def __init__(self, tokenizer: Tokenizer, *, at_text_start: bool, visible: frozenset[int] = frozenset()) -> None:
        """Starts a choice.

        Args:
            tokenizer: The model's tokenizer.
            at_text_start: Whether only special tokens come before. If so, the leading space that some tokenizers put
                before every text is dropped.
            visible: Special tokens whose text is kept.
        """
        self._tokenizer = tokenizer
        self._hidden = tokenizer.special_ids - visible
        self._drops_space = at_text_start and tokenizer.has_space_before_text
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def add(self, token_id: int) -> str:
        """Takes the next token and returns the text that is now complete; never half a character."""
        if token_id in self._hidden:
            return ""
        data = self._tokenizer.token_bytes(token_id)
        if self._drops_space and data:
            self._drops_space = False
            data = data.removeprefix(b" ")
        return self._decoder.decode(data)

    def finish(self) -> str:
        """Returns a replacement character if the tokens end inside a character, else nothing."""
        return self._decoder.decode(b"", final=True)
