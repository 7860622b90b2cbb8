"""The tool formats and reasoning formats that the server supports. Detects which of them a model uses."""

from typing import TypeVar

from onward_server.completion.answer import reasoning_formats
from onward_server.completion.answer.output_format import OutputFormat, ReasoningFormat, ToolFormat
from onward_server.completion.answer.tool_formats.deepseek_r1 import DEEPSEEK_R1
from onward_server.completion.answer.tool_formats.deepseek_v31 import DEEPSEEK_V31
from onward_server.completion.answer.tool_formats.gemma4 import GEMMA4
from onward_server.completion.answer.tool_formats.granite import GRANITE
from onward_server.completion.answer.tool_formats.harmony import HARMONY
from onward_server.completion.answer.tool_formats.hermes import HERMES
from onward_server.completion.answer.tool_formats.llama3 import LLAMA3
from onward_server.completion.answer.tool_formats.mistral import MISTRAL, MISTRAL_CALL_ID, MISTRAL_LIST
from onward_server.completion.answer.tool_formats.qwen3_coder import QWEN3_CODER
from onward_server.errors import StartupError

Format = TypeVar("Format", ToolFormat, ReasoningFormat)

# The first format that fits a template is chosen, so one whose template markers include another's comes before it.
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
    """Chooses the formats of a model.

    Args:
        template: The text of the model's chat template; its markers identify the formats.
        tools: The name of a tool format, or "none", to use instead.
        reasoning: The name of a reasoning format, or "none", to use instead.

    Raises:
        StartupError: There is no format of this name.
    """
    return OutputFormat(
        tools=_choose("tool", TOOL_FORMATS, template, tools),
        reasoning=_choose("reasoning", REASONING_FORMATS, template, reasoning),
    )


def _choose(kind: str, formats: tuple[Format, ...], template: str, name: str | None) -> Format | None:
    if name is None:
        fitting = (one for one in formats if all(marker in template for marker in one.template_markers))
        return next(fitting, None)
    by_name = {one.name: one for one in formats}
    if name != "none" and name not in by_name:
        raise StartupError(f"unknown {kind} format {name!r}; the valid names are none, {', '.join(by_name)}")
    return by_name.get(name)
