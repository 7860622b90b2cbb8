"""Samples outputs under a constraint from uniform logits: every token that the constraint allows is equally likely."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from zlib import crc32

import numpy as np
from llguidance import LLTokenizer
from tokenizers import Tokenizer

from onward_server.domain import ResponseFormat
from onward_server.grammar.compiler import Grammar, GrammarCompiler
from onward_server.grammar.matcher import GrammarMatcher, allocate_masks
from onward_server.grammar.tool_calls import ReasoningFrame, ToolCallConstraint
from testing.constraint_cases import Case
from testing.endings import Endings, TokenIds
from testing.vocabularies import Vocabulary, large_vocabulary, small_vocabulary

_SHARE_OF_PHRASES = 0.4
_MAX_TRIES = 20


@dataclass(frozen=True, slots=True)
class SampledOutput:
    """The text of one output."""

    text: str
    """Control tokens are kept, but for the one that ended it."""
    is_truncated: bool
    """Whether the output reached its maximum length before its end."""


class RandomSampler:
    """A compiler and a source of random tokens for one vocabulary."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.compiler = GrammarCompiler(
            vocabulary.tokenizer_json, vocabulary_size=vocabulary.size, eos_token_ids=vocabulary.eos_token_ids
        )
        self._vocabulary = vocabulary
        self._tokenizer = Tokenizer.from_str(vocabulary.tokenizer_json)
        self._masks = allocate_masks(1, vocabulary.size)

    @classmethod
    def small(cls) -> "RandomSampler":
        """With the vocabulary of 512 tokens."""
        return cls(small_vocabulary())

    @classmethod
    def large(cls) -> "RandomSampler":
        """With the vocabulary of 49,152 tokens."""
        return cls(large_vocabulary())

    def compile(
        self, response_format: ResponseFormat, reasoning: ReasoningFrame | None = None, output_begin: str = ""
    ) -> Grammar:
        """Compiles a response format."""
        return self.compiler.compile(response_format, reasoning, output_begin).result()

    def compile_tool_calls(self, constraint: ToolCallConstraint) -> Grammar | None:
        """Compiles offered tools."""
        return self.compiler.compile_tool_calls(constraint).result()

    def ids_of(self, text: str) -> list[int]:
        """Encodes a text as a model would write it, control tokens included."""
        return self._tokenizer.encode(text).ids

    def finished(self, grammar: Grammar, case: Case, *, count: int, max_tokens: int) -> list[SampledOutput]:
        """Samples outputs until `count` have finished, or twenty times as many have begun.

        Args:
            grammar: The compiled constraint.
            case: What it was compiled from; its name seeds the outputs, so that each case has a sequence of its own.
            count: How many finished outputs are wanted.
            max_tokens: The maximum length of an output; at a random place before the middle it turns to an end.

        Raises:
            AssertionError: No output finished, so that nothing would be checked.
        """
        random = np.random.default_rng(crc32(case.full_name.encode()))
        outputs: list[SampledOutput] = []
        for _ in range(_MAX_TRIES * count):
            walk = int(random.integers(max_tokens // 2))
            begun = self._walk(_Walk(grammar.matcher(), random), walk, case.phrases)
            output = self._output(self._end(begun, max_tokens, case.endings))
            if not output.is_truncated:
                outputs.append(output)
            if len(outputs) == count:
                break
        assert outputs, f"{case.full_name}: no output finished within {max_tokens} tokens"
        return outputs

    def sample(self, grammar: Grammar, *, seed: int, max_tokens: int = 1024) -> SampledOutput:
        """Samples until the output is complete, ends or is too long; nothing makes it end sooner."""
        return self._output(self._walk(_Walk(grammar.matcher(), np.random.default_rng(seed)), max_tokens, ()))

    def _walk(self, walk: "_Walk", max_tokens: int, phrases: Sequence[str]) -> "_Walk":
        """Continues with any allowed token, or now and then with a phrase."""
        while len(walk.token_ids) < max_tokens and not walk.is_finished:
            allowed = self._allowed(walk)
            if not walk.phrase and phrases and walk.random.random() < _SHARE_OF_PHRASES:
                walk.phrase = self._ids_of_any(phrases, walk.random)
            self._take(walk, allowed)
        return walk

    def _end(self, walk: "_Walk", max_tokens: int, endings: Sequence[str]) -> "_Walk":
        """Continues with tokens that lead to the end, and with the endings of what is not JSON."""
        walk.phrase = []
        phrases = [self.ids_of(ending) for ending in endings]
        while len(walk.token_ids) < max_tokens and not walk.is_finished:
            allowed = self._endings.nearest(self._allowed(walk), walk.text, walk.random)
            if int(allowed[0]) in self._vocabulary.eos_token_ids:
                walk.phrase = []
            elif not walk.phrase and walk.random.random() < _SHARE_OF_PHRASES:
                fitting = [phrase for phrase in phrases if self._allows_next(phrase[0])]
                walk.phrase = list(fitting[int(walk.random.integers(len(fitting)))]) if fitting else []
            self._take(walk, allowed)
        return walk

    def _allowed(self, walk: "_Walk") -> TokenIds:
        walk.matcher.fill(self._masks[0])
        return np.flatnonzero(np.unpackbits(self._masks[0].view(np.uint8), bitorder="little"))

    def _take(self, walk: "_Walk", allowed: TokenIds) -> None:
        """Takes the next token of a phrase that the mask allows, else a random one."""
        if walk.phrase and self._allows_next(walk.phrase[0]):
            token_id = walk.phrase.pop(0)
        else:
            walk.phrase, token_id = [], int(walk.random.choice(allowed))
        if token_id in self._vocabulary.eos_token_ids:
            walk.has_ended = True
        else:
            walk.matcher.accept(token_id)
            walk.token_ids.append(token_id)
            walk.text += self._tokens[token_id]

    def allows(self, grammar: Grammar, *pieces: str) -> bool:
        """Reports whether a text, written as a model would write it, satisfies a constraint and may end there.

        A control token given in several pieces is spelled out in ordinary tokens.
        """
        matcher = grammar.matcher()
        for token_id in (token_id for piece in pieces for token_id in self.ids_of(piece)):
            if matcher.is_complete:
                return False
            matcher.fill(self._masks[0])
            if not self._allows_next(token_id):
                return False
            matcher.accept(token_id)
        return matcher.may_end

    @cached_property
    def _tokens(self) -> list[bytes]:
        """The bytes of each token; none for ids beyond the tokenizer."""
        tokenizer = LLTokenizer(self._vocabulary.tokenizer_json, n_vocab=self._vocabulary.size)
        return [tokenizer.decode_bytes([token_id]) for token_id in range(self._vocabulary.size)]

    @cached_property
    def _endings(self) -> Endings:
        return Endings(self._tokens, self._vocabulary.eos_token_ids)

    def _allows_next(self, token_id: int) -> bool:
        """Whether the mask that was filled last allows a token."""
        return bool(self._masks[0][token_id // 32] >> (token_id % 32) & 1)

    def _ids_of_any(self, phrases: Sequence[str], random: np.random.Generator) -> list[int]:
        """Encodes a random phrase, whole or character by character."""
        phrase = phrases[int(random.integers(len(phrases)))]
        pieces = [phrase] if random.random() < _SHARE_OF_PHRASES else list(phrase)
        return [token_id for piece in pieces for token_id in self.ids_of(piece)]

    def _output(self, walk: "_Walk") -> SampledOutput:
        text = self._tokenizer.decode(walk.token_ids, skip_special_tokens=False)
        return SampledOutput(text, is_truncated=not walk.is_finished)


@dataclass(slots=True)
class _Walk:
    """An output that is being sampled."""

    matcher: GrammarMatcher
    random: np.random.Generator
    token_ids: list[int] = field(default_factory=list[int])
    text: bytes = b""
    phrase: list[int] = field(default_factory=list[int])
    """Token ids of a phrase that are still to be written."""
    has_ended: bool = False
    """Whether an end-of-sequence token was sampled."""

    @property
    def is_finished(self) -> bool:
        return self.has_ended or self.matcher.is_complete
