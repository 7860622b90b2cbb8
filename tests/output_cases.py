"""Model outputs with their expected parse, and the pieces in which a test feeds them."""

import functools
import itertools
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from tokenizers import Tokenizer

from onward_server.completion.answer.output_context import OutputContext
from onward_server.completion.answer.output_format import OutputFormat
from onward_server.completion.answer.output_parser import OutputParser
from onward_server.completion.answer.parsing.parser_state import MessagePart
from onward_server.domain import JsonObjectFormat
from testing.parsed_outputs import ParsedOutput, parsed, tool
from tests.chat_conversations import Conversation
from tests.sample_tokenizers import byte_level
from tests.template_cases import compiled_template, rendered, template_formats
from tests.template_files import template_source

_OWN_CASES = Path(__file__).parent / "data/model_outputs"

_CONTINUED = {None: None, "text": MessagePart.CONTENT, "reasoning": MessagePart.REASONING}


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """The expected result of parsing an output."""

    text: str
    reasoning: str
    calls: list[tuple[str, object]]
    """Names, with arguments as values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputCase:
    """An output, and the context in which it is parsed."""

    name: str
    output: str
    output_format: OutputFormat
    context: OutputContext
    expected: Meaning
    invalid: str = ""
    """The text of a tool call that is malformed, truncated, or of a tool that is not offered."""

    def parse(self, pieces: Iterable[str], *, is_truncated: bool = False) -> ParsedOutput:
        """Parses the output in these pieces."""
        return parsed(OutputParser(self.output_format, self.context), pieces, is_truncated=is_truncated)


def own_output_cases() -> list[OutputCase]:
    """The cases of all files, which share their tools."""
    documents = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(_OWN_CASES.glob("*.yaml"))]
    schemas = {name: schema for document in documents for name, schema in document.get("tools", {}).items()}
    return [_own_case(schemas, raw) for document in documents for raw in document["cases"]]


def _own_case(schemas: Any, raw: Any) -> OutputCase:  # noqa: ANN401 (YAML)
    source = template_source(raw["template"])
    continues = _CONTINUED[raw.get("continues")]
    return OutputCase(
        name=raw["name"],
        output=raw["output"],
        output_format=template_formats(source),
        context=OutputContext(
            tools=tuple(tool(name, json.dumps(schemas[name])) for name in raw.get("tools", schemas)),
            prompt="" if continues else prompt_of(source, thinking=raw.get("thinking", True)),
            continues=continues,
            response_format=JsonObjectFormat() if raw.get("json") else None,
        ),
        expected=Meaning(
            text=raw.get("text", ""),
            reasoning=raw.get("reasoning", ""),
            calls=[(name, arguments) for name, arguments in raw.get("calls", [])],
        ),
        invalid=raw.get("invalid", ""),
    )


@functools.cache
def prompt_of(source: str, *, thinking: bool) -> str:
    """The prompt of one question; with or without thinking, where the template has a switch for it."""
    question = [{"role": "user", "content": "Hello"}]
    return rendered(compiled_template(source), Conversation(messages=question, effort="high" if thinking else "none"))


def meaning_of(output: ParsedOutput) -> Meaning:
    """The meaning of a parsed output."""
    calls = [(name, json.loads(arguments)) for name, arguments in output.calls]
    return Meaning(text=output.text, reasoning=output.reasoning, calls=calls)


def assert_every_beginning_is_a_beginning(case: OutputCase) -> None:
    """Asserts that an output truncated anywhere gives the deltas of the whole output up to there."""
    whole = case.parse([case.output])
    streaming = OutputParser(case.output_format, case.context)
    text = reasoning = ""
    for end, character in enumerate(case.output):
        beginning = case.parse([case.output[:end]], is_truncated=True)
        assert whole.calls[: len(beginning.calls)] == beginning.calls
        assert case.output[:end].endswith(beginning.invalid_tool_call)
        assert whole.text.startswith(text)
        assert whole.reasoning.startswith(reasoning)
        delta = streaming.feed(character)
        text += delta.text
        reasoning += delta.reasoning


def split_at(text: str, ends: Iterable[int]) -> list[str]:
    """The text split at those of these positions that are inside it."""
    inside = sorted({0, len(text), *(end for end in ends if end < len(text))})
    return [text[start:end] for start, end in itertools.pairwise(inside)]


def _whole(text: str) -> list[str]:
    return [text]


def _tokens(text: str) -> list[str]:
    return split_at(text, (end for _, end in _tokenizer().encode(text).offsets))


@functools.cache
def _tokenizer() -> Tokenizer:
    return byte_level()


SPLITS: dict[str, Callable[[str], list[str]]] = {"whole": _whole, "characters": list, "tokens": _tokens}
"""The ways in which an output comes."""
