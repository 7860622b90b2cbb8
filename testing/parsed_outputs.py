"""Feeds an output parser and joins its deltas, as a client would."""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

from onward_server.completion.answer.output_parser import OutputParser
from onward_server.domain import FunctionTool


def tool(name: str, parameters: str = "") -> FunctionTool:
    return FunctionTool(name=name, parameters=parameters)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedOutput:
    """All deltas joined, without those of a malformed tool call."""

    text: str
    reasoning: str
    calls: tuple[tuple[str, str], ...]
    """Names and arguments."""
    invalid_tool_call: str


def parsed(parser: OutputParser, pieces: Iterable[str], *, is_truncated: bool = False) -> ParsedOutput:
    """Feeds the pieces, and checks that the deltas are as the protocol promises."""
    deltas = [parser.feed(piece) for piece in pieces]
    deltas.append(parser.finish(is_truncated=is_truncated))
    calls: list[list[str]] = []
    for delta in itertools.chain.from_iterable(delta.tool_calls for delta in deltas):
        if delta.id:
            assert delta.index == len(calls), "a call is opened once, in order"
            calls.append([delta.name, ""])
        assert delta.index == len(calls) - 1, "only the last call grows"
        assert bool(delta.id) or not delta.name, "a name comes with the first delta"
        calls[-1][1] += delta.arguments
    if parser.invalid_tool_call:
        calls.pop()
    assert len(calls) == parser.num_calls
    return ParsedOutput(
        text="".join(delta.text for delta in deltas),
        reasoning="".join(delta.reasoning for delta in deltas),
        calls=tuple((name, arguments) for name, arguments in calls),
        invalid_tool_call=parser.invalid_tool_call,
    )
