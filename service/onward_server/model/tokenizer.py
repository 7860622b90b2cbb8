"""The model's tokenizer: text to token ids, and token ids to bytes.

The only importer of `tokenizers`. Token ids are those of Hugging Face, except where `encode_prompt` says otherwise.
"""

import json
from bisect import bisect_right
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, cast

import tokenizers
from tokenizers.models import BPE

from onward_server.domain import PromptToken
from onward_server.errors import ModelFolderError
from onward_server.model.source.json_file import read_json_object
from onward_server.model.token_bound import TokenBound
from onward_server.model.token_bytes import TokenDecoder, UnsupportedDecoder
from onward_server.model.tokenizer_file import read_tokenizer_file
from onward_server.panics import is_panic, panics_raise

_NAMED_TOKENS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")

_TRIAL_TEXT = "A trial, 12 \u00e9 e\u0301 \u65e5\u672c\n\U0001f600"

Span = tuple[int, int]


class TextNotEncodable(Exception):
    """The tokenizer has failed on a text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedPrompt:
    """A prompt after the chat template, and the positions that no control token may span."""

    text: str
    boundaries: tuple[int, ...] = ()
    """Ascending character positions. A control string with a position strictly inside it is encoded as plain text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """A text and its tokens."""

    text: str
    ids: tuple[int, ...]
    spans: tuple[Span, ...]
    """Character range of each token as Hugging Face reports it; `Tokenizer.prompt_tokens` has exact byte ranges."""


class Tokenizer:
    """A tokenizer.json in memory; safe to use from several threads."""

    def __init__(self, tokenizer: tokenizers.Tokenizer, named_tokens: Mapping[str, str]) -> None:
        """Takes a tokenizer that has all of its special tokens registered.

        Raises:
            UnsupportedDecoder: The bytes of a token depend on its neighbors.
        """
        self._tokenizer = tokenizer
        self.named_tokens = dict(named_tokens)
        """Text of `bos_token`, `eos_token` and so on, by that name."""
        added = tokenizer.get_added_tokens_decoder()
        self.special_ids = frozenset(token_id for token_id, token in added.items() if token.special)
        self.special_strings = frozenset(added[token_id].content for token_id in self.special_ids)
        self._control_strings = {
            token_id: token.content for token_id, token in added.items() if token.special or _has_word(token.content)
        }
        self.control_strings = frozenset(self._control_strings.values())
        """Text of every added token that is special or contains a letter or digit."""
        self._unknown_id = _unknown_id(tokenizer)
        decoder = TokenDecoder(_state(tokenizer.decoder))
        self.has_space_before_text = decoder.has_space_before_text
        """Whether encoding prepends a space to a text, which decoding then removes from the start."""
        self._bytes = _byte_table(tokenizer, decoder)
        self.min_tokens = TokenBound(json.loads(tokenizer.to_str()))
        """Lower bound of the number of tokens in a text, found without encoding it."""

    @classmethod
    def load(cls, folder: Path, *, num_logits: int | None = None) -> "Tokenizer":
        """Reads tokenizer.json, and the names of special tokens in tokenizer_config.json and special_tokens_map.json.

        Args:
            folder: The folder with these files.
            num_logits: The size of the model's vocabulary, beyond which added tokens are left out; None: unknown.

        Raises:
            ModelFolderError: tokenizer.json is missing, unreadable or of an unsupported kind.
        """
        path = folder / "tokenizer.json"
        config = read_json_object(folder / "tokenizer_config.json")
        named_tokens = _named_tokens(read_json_object(folder / "special_tokens_map.json")) | _named_tokens(config)
        text = read_tokenizer_file(path, num_logits)
        try:
            loaded = tokenizers.Tokenizer.from_str(text)
            loaded.no_truncation()
            loaded.no_padding()
            if isinstance(loaded.model, BPE):
                loaded.model.dropout = None  # for training: it drops merges at random
            _register_special_tokens(loaded, named_tokens, config)
            loaded.encode(_TRIAL_TEXT, add_special_tokens=True)
            return cls(loaded, named_tokens)
        except UnsupportedDecoder as error:
            raise ModelFolderError(f"{path} has a decoder step that is not supported: {error}") from error
        except BaseException as error:  # the library raises nothing narrower than Exception, and panics
            if not (isinstance(error, Exception) or is_panic(error)):
                raise
            raise ModelFolderError(
                f"{path} cannot be used as a tokenizer: {error}; export the model together with its tokenizer again"
            ) from error

    @property
    def vocabulary_size(self) -> int:
        """The highest token id + 1."""
        return len(self._bytes)

    def token_id(self, token: str) -> int | None:
        """Token id of a vocabulary entry or added token; None if there is no such token."""
        return self._tokenizer.token_to_id(token)

    def to_json(self) -> str:
        """The tokenizer as JSON text, including the special tokens that `load` registered."""
        return self._tokenizer.to_str()

    def encode(self, text: str, *, add_special_tokens: bool) -> Encoding:
        """Encodes a text; control strings in it become control tokens. Linear in the text; releases the GIL.

        Raises:
            TextNotEncodable: The library failed.
        """
        with _failures_raise_not_encodable():
            encoding = self._tokenizer.encode(text, add_special_tokens=add_special_tokens)
        return Encoding(text=text, ids=tuple(encoding.ids), spans=tuple(encoding.offsets))

    def encode_prompt(self, prompt: RenderedPrompt) -> Encoding:
        """Encodes a rendered prompt; a control string that spans one of its boundaries is encoded as plain text.

        Without such a string the token ids are exactly those of `encode`. A control string of one character spans
        no boundary, so it always becomes a control token.

        Raises:
            TextNotEncodable: The library failed.
        """
        encoding = self.encode(prompt.text, add_special_tokens=False)
        controls = [index for index, token_id in enumerate(encoding.ids) if token_id in self._control_strings]
        forged = {index for index in controls if self._is_forged(prompt, encoding.ids[index], encoding.spans[index])}
        if not forged:
            return encoding
        genuine = [index for index in controls if index not in forged]
        tokens: list[tuple[int, Span]] = []
        for first, last in zip([-1, *genuine], [*genuine, len(encoding.ids)], strict=True):
            if forged.isdisjoint(range(first + 1, last)):
                tokens.extend(zip(encoding.ids[first + 1 : last], encoding.spans[first + 1 : last], strict=True))
            else:
                start = encoding.spans[first][1] if first >= 0 else 0
                end = encoding.spans[last][0] if last < len(encoding.ids) else len(prompt.text)
                with _failures_raise_not_encodable():
                    tokens.extend(self._encode_plain(prompt.text, start, end))
            if last < len(encoding.ids):
                tokens.append((encoding.ids[last], encoding.spans[last]))
        return Encoding(
            text=prompt.text, ids=tuple(token_id for token_id, _ in tokens), spans=tuple(span for _, span in tokens)
        )

    def token_bytes(self, token_id: int) -> bytes:
        """Exact bytes of a token; empty for an id outside the vocabulary."""
        return self._bytes[token_id] if 0 <= token_id < len(self._bytes) else b""

    def prompt_tokens(self, encoding: Encoding) -> tuple[PromptToken, ...]:
        """Tokens with their byte ranges in the UTF-8 text.

        A range covers the token's bytes where the text has them at that position; otherwise it is the range that
        Hugging Face reports. Special tokens and spaces that the text does not contain get an empty range.
        """
        text = encoding.text.encode()
        byte_at = _byte_positions(encoding.text)
        tokens: list[PromptToken] = []
        position = 0
        next_starts = chain((start for start, _ in encoding.spans[1:]), [len(encoding.text)])
        for token_id, (start, end), next_start in zip(encoding.ids, encoding.spans, next_starts, strict=False):
            token = self.token_bytes(token_id)
            bare = token.removeprefix(b" ") if self.has_space_before_text else token
            begin = position
            if start == end or (not bare and start == next_start):
                pass
            elif text.startswith(token, position):
                position += len(token)
            elif bare and text.startswith(bare, position):
                position += len(bare)
            else:
                begin, position = byte_at[start], byte_at[end]
            tokens.append(PromptToken(id=token_id, token=token, start_offset=begin, end_offset=position))
        return tuple(tokens)

    def decode(self, ids: Sequence[int], *, keep_special_tokens: bool) -> str:
        """The text of tokens that start at the beginning of a text; invalid UTF-8 becomes U+FFFD."""
        hidden: frozenset[int] = frozenset() if keep_special_tokens else self.special_ids
        data = b"".join(self.token_bytes(token_id) for token_id in ids if token_id not in hidden)
        return data.removeprefix(b" " if self.has_space_before_text else b"").decode("utf-8", "replace")

    def _is_forged(self, prompt: RenderedPrompt, token_id: int, span: Span) -> bool:
        """Whether a control token came from normalization or from user text, not from the chat template."""
        content = self._control_strings[token_id]
        start = prompt.text.find(content, *span)
        if start < 0:
            return token_id != self._unknown_id
        index = bisect_right(prompt.boundaries, start)
        return index < len(prompt.boundaries) and prompt.boundaries[index] < start + len(content)

    def _encode_plain(self, text: str, start: int, end: int) -> Iterator[tuple[int, Span]]:
        """Encodes text[start:end] as the plain text between two control tokens; yields no control tokens."""
        first = max(0, start - 1)  # one character earlier, because tokenizers treat the start of a text differently
        pretokenized = tokenizers.PreTokenizedString(text[first:end])
        if start > first:
            pretokenized.split(_split_first_character)
        if self._tokenizer.normalizer is not None:
            pretokenized.normalize(self._tokenizer.normalizer.normalize)
        if self._tokenizer.pre_tokenizer is not None:
            self._tokenizer.pre_tokenizer.pre_tokenize(pretokenized)
        pretokenized.tokenize(self._tokenizer.model.tokenize)
        encoding = pretokenized.to_encoding()
        for token_id, (begin, stop) in zip(encoding.ids, encoding.offsets, strict=True):
            if first + begin >= start:
                yield from ((part, (first + begin, first + stop)) for part in self._without_control(token_id))

    def _without_control(self, token_id: int) -> Iterator[int]:
        """The token id, or those of its shorter parts if the model merged plain text into a control token."""
        token = cast(str, self._tokenizer.id_to_token(token_id))
        if token_id not in self._control_strings or token_id == self._unknown_id or len(token) == 1:
            yield token_id
            return
        for part in (token[0], token[1:]):
            for piece in self._tokenizer.model.tokenize(part):
                yield from self._without_control(piece.id)


@contextmanager
def _failures_raise_not_encodable() -> Generator[None]:
    def make_error() -> TextNotEncodable:
        return TextNotEncodable("the model's tokenizer fails on this text; change or shorten it")

    with panics_raise(make_error):
        try:
            yield
        except Exception as error:  # the library raises nothing narrower
            raise make_error() from error


def _split_first_character(_: int, text: tokenizers.NormalizedString) -> list[tokenizers.NormalizedString | None]:
    return [text[:1], text[1:]]


def _named_tokens(config: Mapping[str, object]) -> dict[str, str]:
    contents = {name: _content(config.get(name)) for name in _NAMED_TOKENS}
    return {name: content for name, content in contents.items() if content}


def _content(token: object) -> str:
    """The text of a token that a configuration file gives as a string or as an object; empty otherwise."""
    match token:
        case str(content) | {"content": str(content)}:
            return content
        case _:
            return ""


def _register_special_tokens(
    tokenizer: tokenizers.Tokenizer, named_tokens: Mapping[str, str], config: Mapping[str, object]
) -> None:
    """Registers the vocabulary entries that the configuration calls special and tokenizer.json does not."""
    special = {token.content for token in tokenizer.get_added_tokens_decoder().values() if token.special}
    additional = config.get("additional_special_tokens")
    wanted = [*named_tokens.values(), *map(_content, cast(list[object], additional or []))]
    tokenizer.add_special_tokens(  # pyright: ignore[reportUnknownMemberType] (a bare `list` in its stub)
        [token for token in wanted if token not in special and tokenizer.token_to_id(token) is not None]
    )


def _has_word(token: str) -> bool:
    return any(character.isalnum() for character in token)


def _unknown_id(tokenizer: tokenizers.Tokenizer) -> int | None:
    """The unknown token, found by encoding a noncharacter; None if the model has no unknown token."""
    pieces = tokenizer.model.tokenize("\U0010ffff")
    return pieces[0].id if len(pieces) == 1 else None


def _state(decoder: Any) -> Mapping[str, object] | None:  # noqa: ANN401 (the library's own annotation)
    return None if decoder is None else json.loads(decoder.__getstate__())


def _byte_table(tokenizer: tokenizers.Tokenizer, decoder: TokenDecoder) -> list[bytes]:
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    table = [b""] * (1 + max(vocabulary.values(), default=-1))
    for token, token_id in vocabulary.items():
        table[token_id] = decoder.bytes_of(token)
    for token_id, token in tokenizer.get_added_tokens_decoder().items():
        table[token_id] = decoder.added_bytes(token.content, special=token.special)
    return table


def _byte_positions(text: str) -> Sequence[int]:
    """Byte position of each character, and of the end of the text."""
    if text.isascii():
        return range(len(text) + 1)
    positions = [0]
    for character in text:
        positions.append(positions[-1] + len(character.encode()))
    return positions
