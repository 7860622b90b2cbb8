"""The two compilers that are compared: the service's, and llguidance with its own reader of JSON schemas."""

from collections.abc import Sequence
from typing import Protocol

from llguidance import LLMatcher, LLTokenizer

from onward_server.domain import JsonSchemaFormat
from onward_server.errors import InvalidRequest
from onward_server.grammar.compiler import GrammarCompiler
from testing.vocabularies import Vocabulary


class SchemaRejected(Exception):
    """A compiler rejects a schema; the message says why."""


class Engine(Protocol):
    """Compiles schemas."""

    @property
    def name(self) -> str: ...

    def matcher(self, schema: str) -> LLMatcher:
        """A matcher at its start, with its first mask computed.

        Raises:
            SchemaRejected: The compiler rejects the schema.
        """
        ...


class Onward:
    """The service's compiler, with a cache so small that each schema is compiled again."""

    name = "onward"

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._compiler = GrammarCompiler(
            vocabulary.tokenizer_json,
            vocabulary_size=vocabulary.size,
            eos_token_ids=vocabulary.eos_token_ids,
            cache_bytes=1,
        )

    def matcher(self, schema: str) -> LLMatcher:
        try:
            matcher = self._compiler.compile(JsonSchemaFormat(schema=schema)).result().matcher().native
        except InvalidRequest as error:
            raise SchemaRejected(str(error)) from error
        return _started(matcher)

    def close(self) -> None:
        """Ends its threads."""
        self._compiler.close()


class Llguidance:
    """llguidance with its default settings."""

    name = "llguidance"

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.tokenizer = LLTokenizer(
            vocabulary.tokenizer_json, n_vocab=vocabulary.size, eos_token=sorted(vocabulary.eos_token_ids)
        )

    def matcher(self, schema: str) -> LLMatcher:
        try:
            grammar = LLMatcher.grammar_from_json_schema(schema)
        except ValueError as error:
            raise SchemaRejected(str(error)) from error
        return _started(LLMatcher(self.tokenizer, grammar, log_level=0))


def _started(matcher: LLMatcher) -> LLMatcher:
    if not matcher.is_error():
        matcher.compute_bitmask()
    if matcher.is_error():
        raise SchemaRejected(matcher.get_error())
    return matcher


def takes(matcher: LLMatcher, token_ids: Sequence[int]) -> bool:
    """Resets a matcher, and returns whether it accepts an output that ends there."""
    matcher.reset()
    taken = matcher.try_consume_tokens(list(token_ids))
    return taken == len(token_ids) and matcher.is_accepting()
