"""Draws answers within a constraint as a model does that knows nothing: every token that is allowed is as likely."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from onward_server.completion.answer.tool_formats import REASONING_FORMATS, TOOL_FORMATS
from onward_server.completion.answer.tool_formats.tool_format import ReasoningFormat, ToolFormat
from onward_server.domain import ResponseFormat
from onward_server.grammar.compiler import Grammar, GrammarCompiler
from onward_server.grammar.matcher import allocate_masks
from onward_server.grammar.tool_calls import ThinkingFrame, ToolCallConstraint

SMOLLM2 = Path(__file__).parents[2] / "shared/data/tok-smollm2/tokenizer.json"
_FORMATS: tuple[ToolFormat | ReasoningFormat, ...] = (*TOOL_FORMATS, *REASONING_FORMATS)
CONTROL_TOKENS = tuple(
    dict.fromkeys(
        ("<|return|>", "<|call|>", "<|stop|>", *(mark for format_ in _FORMATS for mark in format_.control_strings))
    )
)
"""The first two end an answer; then those of all formats."""
_SHARE_OF_PHRASES = 0.4
EOS_TOKEN_IDS = frozenset({0, 1})
SMOLLM2_EOS_TOKEN_IDS = frozenset({0, 2})
_TEXT = [
    '{"name": "value", "items": [1, 2, 3], "is": true, "the": null}',
    "the quick brown fox, 12.5 naïve 日本語",
    '{"to":"anna@mail.com","tags":["a","b,c"],"copies":-0.25,"on":"2024-02-29","where":{"x":{}},"when":[],"no":false}',
    "[[1.5e10,-2],[]] (foo|foobar)*(x+y)+1 <a><b/></a> a=1&b=22;c=333 SELECT a FROM t WHERE b >= 10 /* note */",
    '"a \\"quoted\\" word", "two\\nlines", "\\u00e9", "C:\\\\dir"',
    "def add(x, y):\n    return x + y  # the sum\n\n<function=add>\n<parameter=x>\n5\n</parameter>\n</function>\n",
    "If the answer is not there, then the reader should return nothing and try another request after some seconds.",
    "Every number, name and string that stands between these marks belongs to one property of the object before it.",
    "Whoever writes without thinking writes about everything: weather, harbours, numbers, colours, cities and people.",
]


@cache
def small_tokenizer_json() -> str:
    """A byte-level BPE of 512 tokens, the first of which are control tokens; many span the ends of JSON strings."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=512,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=list(CONTROL_TOKENS),
    )
    tokenizer.train_from_iterator(_TEXT, trainer)
    return tokenizer.to_str()


@dataclass(frozen=True, slots=True)
class Drawn:
    """One answer."""

    text: str
    """Control tokens are kept, but for the one that ended it."""
    num_tokens: int
    is_cut: bool
    """Whether the answer came to its greatest length before its end."""


class RandomWriter:
    """A tokenizer, its compiler and a source of logits."""

    def __init__(self, tokenizer_json: str, *, vocabulary_size: int, eos_token_ids: frozenset[int], seed: int) -> None:
        self.compiler = GrammarCompiler(tokenizer_json, vocabulary_size=vocabulary_size, eos_token_ids=eos_token_ids)
        self._tokenizer = Tokenizer.from_str(tokenizer_json)
        self._eos_token_ids = eos_token_ids
        self._random = np.random.default_rng(seed)
        self._masks = allocate_masks(1, vocabulary_size)

    @classmethod
    def small(cls, seed: int = 0) -> "RandomWriter":
        """With the tokenizer of 512."""
        return cls(small_tokenizer_json(), vocabulary_size=512, eos_token_ids=EOS_TOKEN_IDS, seed=seed)

    @classmethod
    def smollm2(cls, seed: int = 0) -> "RandomWriter":
        """With SmolLM2's tokenizer of 49,152."""
        text = SMOLLM2.read_text(encoding="utf-8")
        return cls(text, vocabulary_size=49_152, eos_token_ids=SMOLLM2_EOS_TOKEN_IDS, seed=seed)

    def compile(
        self, response_format: ResponseFormat, thinking: ThinkingFrame | None = None, answer_begin: str = ""
    ) -> Grammar:
        """What its compiler makes of a format."""
        return self.compiler.compile(response_format, thinking, answer_begin).result()

    def compile_tool_calls(self, constraint: ToolCallConstraint) -> Grammar | None:
        """What its compiler makes of offered tools."""
        return self.compiler.compile_tool_calls(constraint).result()

    def ids_of(self, text: str) -> list[int]:
        """How a model would write a text, control tokens in it too."""
        return self._tokenizer.encode(text).ids

    def draw(self, grammar: Grammar, max_tokens: int = 1024, phrases: Sequence[str] = ()) -> Drawn:
        """Draws at temperature 1 until the answer is complete, ends or is too long.

        `phrases`: now and then one of them is written, as far as the constraint lets it.
        """
        matcher = grammar.matcher()
        token_ids: list[int] = []
        phrase: list[int] = []
        while len(token_ids) < max_tokens and not matcher.is_complete:
            matcher.fill(self._masks[0])
            if phrases and not phrase and self._random.random() < _SHARE_OF_PHRASES:
                phrase = self._ids_of_any(phrases)
            allowed = np.flatnonzero(np.unpackbits(self._masks[0].view(np.uint8), bitorder="little"))
            if phrase and phrase[0] in allowed:
                token_id = phrase.pop(0)
            else:
                phrase, token_id = [], int(self._random.choice(allowed))
            if token_id in self._eos_token_ids:
                return self._drawn(token_ids, is_cut=False)
            token_ids.append(token_id)
            matcher.accept(token_id)
        return self._drawn(token_ids, is_cut=not matcher.is_complete)

    def allows(self, grammar: Grammar, *pieces: str) -> bool:
        """Whether a text, written as a model would, keeps to a constraint and may end there.

        A control token in several pieces is spelled out.
        """
        matcher = grammar.matcher()
        for token_id in (token_id for piece in pieces for token_id in self.ids_of(piece)):
            if matcher.is_complete:
                return False
            matcher.fill(self._masks[0])
            if not self._masks[0][token_id // 32] >> (token_id % 32) & 1:
                return False
            matcher.accept(token_id)
        return matcher.may_end

    def _ids_of_any(self, phrases: Sequence[str]) -> list[int]:
        """One of the phrases, as a model would write it, or by the character."""
        phrase = phrases[int(self._random.integers(len(phrases)))]
        pieces = [phrase] if self._random.random() < _SHARE_OF_PHRASES else list(phrase)
        return [token_id for piece in pieces for token_id in self.ids_of(piece)]

    def _drawn(self, token_ids: list[int], *, is_cut: bool) -> Drawn:
        text = self._tokenizer.decode(token_ids, skip_special_tokens=False)
        return Drawn(text, len(token_ids), is_cut)
