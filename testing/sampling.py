"""Samples outputs under a constraint from uniform logits: every token that the constraint allows is equally likely."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from onward_server.domain import ResponseFormat
from onward_server.grammar.compiler import Grammar, GrammarCompiler
from onward_server.grammar.matcher import allocate_masks
from onward_server.grammar.tool_calls import ThinkingFrame, ToolCallConstraint
from testing.vocabularies import Vocabulary, small_vocabulary

SMOLLM2 = Path(__file__).parents[2] / "shared/data/tok-smollm2/tokenizer.json"
_SHARE_OF_PHRASES = 0.4
SMOLLM2_EOS_TOKEN_IDS = frozenset({0, 2})


@dataclass(frozen=True, slots=True)
class SampledOutput:
    """The text of one output."""

    text: str
    """Control tokens are kept, but for the one that ended it."""
    num_tokens: int
    is_truncated: bool
    """Whether the output reached its maximum length before its end."""


class RandomSampler:
    """A compiler and a source of random tokens for one vocabulary."""

    def __init__(self, vocabulary: Vocabulary, *, seed: int = 0) -> None:
        self.compiler = GrammarCompiler(
            vocabulary.tokenizer_json, vocabulary_size=vocabulary.size, eos_token_ids=vocabulary.eos_token_ids
        )
        self._tokenizer = Tokenizer.from_str(vocabulary.tokenizer_json)
        self._eos_token_ids = vocabulary.eos_token_ids
        self._random = np.random.default_rng(seed)
        self._masks = allocate_masks(1, vocabulary.size)

    @classmethod
    def small(cls, seed: int = 0) -> "RandomSampler":
        """With the vocabulary of 512 tokens."""
        return cls(small_vocabulary(), seed=seed)

    @classmethod
    def smollm2(cls, seed: int = 0) -> "RandomSampler":
        """With SmolLM2's tokenizer of 49,152 tokens."""
        return cls(Vocabulary(SMOLLM2.read_text(encoding="utf-8"), 49_152, SMOLLM2_EOS_TOKEN_IDS), seed=seed)

    def compile(
        self, response_format: ResponseFormat, thinking: ThinkingFrame | None = None, answer_begin: str = ""
    ) -> Grammar:
        """Compiles a response format."""
        return self.compiler.compile(response_format, thinking, answer_begin).result()

    def compile_tool_calls(self, constraint: ToolCallConstraint) -> Grammar | None:
        """Compiles offered tools."""
        return self.compiler.compile_tool_calls(constraint).result()

    def ids_of(self, text: str) -> list[int]:
        """Encodes a text as a model would write it, control tokens included."""
        return self._tokenizer.encode(text).ids

    def sample(self, grammar: Grammar, max_tokens: int = 1024, phrases: Sequence[str] = ()) -> SampledOutput:
        """Samples at temperature 1 until the output is complete, ends or is too long.

        Args:
            grammar: The constraint.
            max_tokens: The maximum length of the output.
            phrases: Texts of which one is written now and then, as far as the constraint allows it.
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
                return self._sampled(token_ids, is_truncated=False)
            token_ids.append(token_id)
            matcher.accept(token_id)
        return self._sampled(token_ids, is_truncated=not matcher.is_complete)

    def allows(self, grammar: Grammar, *pieces: str) -> bool:
        """Reports whether a text, written as a model would write it, satisfies a constraint and may end there.

        A control token given in several pieces is spelled out in ordinary tokens.
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
        """Encodes a random phrase, whole or character by character."""
        phrase = phrases[int(self._random.integers(len(phrases)))]
        pieces = [phrase] if self._random.random() < _SHARE_OF_PHRASES else list(phrase)
        return [token_id for piece in pieces for token_id in self.ids_of(piece)]

    def _sampled(self, token_ids: list[int], *, is_truncated: bool) -> SampledOutput:
        text = self._tokenizer.decode(token_ids, skip_special_tokens=False)
        return SampledOutput(text, len(token_ids), is_truncated)
