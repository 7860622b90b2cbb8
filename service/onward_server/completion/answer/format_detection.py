"""Detects a model's formats from what its chat template renders for sample conversations."""

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TypeVar

from onward_server.completion.answer.output_context import OutputContext
from onward_server.completion.answer.output_format import OutputFormat, ReasoningFormat, ToolFormat
from onward_server.completion.answer.output_parser import OutputParser
from onward_server.completion.template_samples import RenderedCall, TemplateSamples
from onward_server.json_value import NotJson, parse

Format = TypeVar("Format", ToolFormat, ReasoningFormat)

_SPACE = re.compile(r"\s+")


def detect_reasoning_format(formats: Sequence[ReasoningFormat], samples: TemplateSamples) -> ReasoningFormat | None:
    """Returns the format in which the template renders reasoning, or that it describes to the model; None if neither.

    A template reveals a format in one of three ways: it renders reasoning in an assistant message; it renders only the
    markers, before the text of such a message or at the end of a prompt; or it drops the text of such a message up to
    the end marker.
    """
    for format_ in formats:
        is_rendered = any(text.rstrip().endswith(format_.begin) for text in samples.before_reasoning)
        if is_rendered or any(map(format_.is_opened_by, samples.reply_prompts)):
            return format_
        is_closed = any(map(format_.is_closed_by, (*samples.reply_prompts, *samples.before_text)))
        if is_closed or format_.end in samples.reasoning_ends:
            return format_
    return _described(formats, (*samples.reply_prompts, *samples.tool_prompts))


def detect_tool_format(
    formats: Sequence[ToolFormat], reasoning: ReasoningFormat | None, samples: TemplateSamples
) -> ToolFormat | None:
    """Returns the format whose parser reads the rendered call; if there is none, the one that the prompts describe.

    Several formats may read the call. Those that leave no text over come first; among them, the one that would write
    the call in the same way, ideally with the same white space. If none would, a format that the prompts describe wins.
    A format that leaves text over and would not write the call so is never chosen: it found its markers by accident.
    """
    texts = {format_.name: list(_texts(format_, reasoning, samples)) for format_ in formats}
    clean = [format_ for format_ in formats if "" in texts[format_.name]]
    reading = clean or [format_ for format_ in formats if texts[format_.name]]
    likeness = {format_.name: max(_likeness(format_, call) for call in samples.calls) for format_ in reading}
    best = max(reading, key=lambda format_: likeness[format_.name], default=None)
    is_written = best is not None and likeness[best.name] > 0
    return best if is_written else _described(formats, samples.tool_prompts) or (best if clean else None)


def _texts(format_: ToolFormat, reasoning: ReasoningFormat | None, samples: TemplateSamples) -> Iterator[str]:
    """Yields the text around the call for each sample that is parsed as exactly the call that was rendered."""
    output_format = OutputFormat(tools=format_, reasoning=reasoning)
    for call in samples.calls:
        parser = OutputParser(output_format, OutputContext(tools=(call.tool,), prompt=call.prompt))
        deltas = [parser.feed(call.output), parser.finish()]
        calls = [delta for one in deltas for delta in one.tool_calls]
        if not parser.is_invalid and parser.num_calls == 1 and {delta.index for delta in calls} == {0}:
            with suppress(NotJson):
                if parse("".join(delta.arguments for delta in calls)) == call.arguments:
                    yield "".join(delta.text for delta in deltas).strip()


def _likeness(format_: ToolFormat, call: RenderedCall) -> int:
    """2 if the call begins exactly as the format's constraint would write it, 1 if only white space differs, else 0."""
    frame = format_.frame
    name_end = frame.id_begin or frame.arguments_begin
    beginning = f"{frame.section_begin}{frame.begin}{call.tool.name}{name_end}"
    return (beginning in call.output) + (_SPACE.sub("", beginning) in _SPACE.sub("", call.output))


def _described(formats: Sequence[Format], prompts: Sequence[str]) -> Format | None:
    """Returns the format with the most prompt markers, among those whose markers all occur in one prompt."""
    described = [
        format_
        for format_ in formats
        if format_.prompt_markers
        and any(all(marker in prompt for marker in format_.prompt_markers) for prompt in prompts)
    ]
    return max(described, key=lambda format_: len(format_.prompt_markers), default=None)
