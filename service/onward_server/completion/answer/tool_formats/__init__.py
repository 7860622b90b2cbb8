"""The formats in which models write reasoning and tool calls, chosen by their chat template; it knows no parser."""

from typing import TypeVar

from onward_server.completion.answer.tool_formats import reasoning as reasoning_formats
from onward_server.completion.answer.tool_formats.deepseek_r1 import DEEPSEEK_R1
from onward_server.completion.answer.tool_formats.deepseek_v31 import DEEPSEEK_V31
from onward_server.completion.answer.tool_formats.gemma4 import GEMMA4
from onward_server.completion.answer.tool_formats.granite import GRANITE
from onward_server.completion.answer.tool_formats.harmony import HARMONY
from onward_server.completion.answer.tool_formats.hermes import HERMES
from onward_server.completion.answer.tool_formats.llama3 import LLAMA3
from onward_server.completion.answer.tool_formats.mistral import MISTRAL, MISTRAL_CALL_ID, MISTRAL_LIST
from onward_server.completion.answer.tool_formats.qwen3_coder import QWEN3_CODER
from onward_server.completion.answer.tool_formats.tool_format import OutputFormat, ReasoningFormat, ToolFormat
from onward_server.errors import StartupError

Format = TypeVar("Format", ToolFormat, ReasoningFormat)

# The first that fits a template is taken: a format whose marks another's hold comes after it.
TOOL_FORMATS: tuple[ToolFormat, ...] = (
    HARMONY,
    GEMMA4,
    QWEN3_CODER,
    HERMES,
    MISTRAL_CALL_ID,
    MISTRAL,
    MISTRAL_LIST,
    DEEPSEEK_R1,
    DEEPSEEK_V31,
    GRANITE,
    LLAMA3,
)
REASONING_FORMATS: tuple[ReasoningFormat, ...] = (
    reasoning_formats.HARMONY,
    reasoning_formats.GEMMA,
    reasoning_formats.MISTRAL,
    reasoning_formats.GRANITE,
    reasoning_formats.THINK,
)


def choose_output_format(template: str, *, tools: str | None = None, reasoning: str | None = None) -> OutputFormat:
    """Chooses by the text of a chat template, or by name, where "none" is one too.

    Raises:
        StartupError: No format has such a name.
    """
    return OutputFormat(
        tools=_choose("tool", TOOL_FORMATS, template, tools),
        reasoning=_choose("reasoning", REASONING_FORMATS, template, reasoning),
    )


def _choose(kind: str, formats: tuple[Format, ...], template: str, name: str | None) -> Format | None:
    if name is None:
        return next((format_ for format_ in formats if all(mark in template for mark in format_.template_marks)), None)
    known = {format_.name: format_ for format_ in formats}
    if name != "none" and name not in known:
        raise StartupError(f"no {kind} format is named {name!r}; known are none, {', '.join(known)}")
    return known.get(name)
