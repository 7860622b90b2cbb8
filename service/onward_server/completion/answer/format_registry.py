"""The tool formats and reasoning formats that the server supports. Detects which of them a model uses."""

from onward_server.completion.answer import reasoning_formats
from onward_server.completion.answer.format_detection import Format, detect_reasoning_format, detect_tool_format
from onward_server.completion.answer.output_format import OutputFormat, ReasoningFormat, ToolFormat
from onward_server.completion.answer.tool_formats.apertus import APERTUS
from onward_server.completion.answer.tool_formats.apriel import APRIEL
from onward_server.completion.answer.tool_formats.cohere import COMMAND_R, COMMAND_R7B
from onward_server.completion.answer.tool_formats.deepseek_r1 import DEEPSEEK_R1
from onward_server.completion.answer.tool_formats.deepseek_v31 import DEEPSEEK_V31
from onward_server.completion.answer.tool_formats.deepseek_v32 import DEEPSEEK_V4, DEEPSEEK_V32
from onward_server.completion.answer.tool_formats.functionary import FUNCTIONARY, FUNCTIONARY_V32
from onward_server.completion.answer.tool_formats.gemma4 import GEMMA4
from onward_server.completion.answer.tool_formats.glm45 import GLM45, GLM47
from onward_server.completion.answer.tool_formats.granite import GRANITE
from onward_server.completion.answer.tool_formats.harmony import HARMONY
from onward_server.completion.answer.tool_formats.hermes import HERMES
from onward_server.completion.answer.tool_formats.internlm2 import INTERNLM2
from onward_server.completion.answer.tool_formats.kimi_k2 import KIMI_K2
from onward_server.completion.answer.tool_formats.lfm2 import LFM2
from onward_server.completion.answer.tool_formats.llama3 import LLAMA3
from onward_server.completion.answer.tool_formats.longcat import LONGCAT, LONGCAT_LITE
from onward_server.completion.answer.tool_formats.minicpm5 import MINICPM5
from onward_server.completion.answer.tool_formats.minimax_m2 import MINIMAX_M2
from onward_server.completion.answer.tool_formats.mistral import MISTRAL, MISTRAL_CALL_ID, MISTRAL_LIST
from onward_server.completion.answer.tool_formats.nemotron import NEMOTRON
from onward_server.completion.answer.tool_formats.olmo3 import OLMO3
from onward_server.completion.answer.tool_formats.phi4_mini import PHI4_MINI, PHI4_MINI_TOKENS
from onward_server.completion.answer.tool_formats.pythonic import PYTHONIC
from onward_server.completion.answer.tool_formats.qwen3_coder import QWEN3_CODER
from onward_server.completion.answer.tool_formats.seed_oss import SEED_OSS
from onward_server.completion.template_samples import TemplateSamples
from onward_server.errors import StartupError

# Order matters: of several formats that read a rendered call equally well, `detect_tool_format` takes the first.
TOOL_FORMATS: tuple[ToolFormat, ...] = (
    HARMONY,
    GEMMA4,
    QWEN3_CODER,
    LLAMA3,
    HERMES,
    MISTRAL_CALL_ID,
    MISTRAL,
    MISTRAL_LIST,
    DEEPSEEK_R1,
    DEEPSEEK_V31,
    DEEPSEEK_V32,
    DEEPSEEK_V4,
    GLM45,
    GLM47,
    GRANITE,
    INTERNLM2,
    KIMI_K2,
    LONGCAT,
    LONGCAT_LITE,
    MINIMAX_M2,
    SEED_OSS,
    PYTHONIC,
    LFM2,
    OLMO3,
    PHI4_MINI,
    PHI4_MINI_TOKENS,
    COMMAND_R7B,
    COMMAND_R,
    APERTUS,
    APRIEL,
    NEMOTRON,
    FUNCTIONARY,
    FUNCTIONARY_V32,
    MINICPM5,
)
REASONING_FORMATS: tuple[ReasoningFormat, ...] = (
    reasoning_formats.HARMONY,
    reasoning_formats.GEMMA,
    reasoning_formats.MISTRAL,
    reasoning_formats.THINK,
    reasoning_formats.GRANITE,
    reasoning_formats.SEED_OSS,
    reasoning_formats.LONGCAT,
    reasoning_formats.COHERE,
    reasoning_formats.APERTUS,
    reasoning_formats.APRIEL,
)


def choose_output_format(
    samples: TemplateSamples, *, tools: str | None = None, reasoning: str | None = None
) -> OutputFormat:
    """Chooses the formats of a model.

    Args:
        samples: What the model's chat template renders; the formats are detected from it.
        tools: The name of a tool format, or "none", to use instead.
        reasoning: The name of a reasoning format, or "none", to use instead.

    Raises:
        StartupError: There is no format of this name.
    """
    if reasoning is None:
        reasoning_format = detect_reasoning_format(REASONING_FORMATS, samples)
    else:
        reasoning_format = _named("reasoning", REASONING_FORMATS, reasoning)
    if tools is None:
        tool_format = detect_tool_format(TOOL_FORMATS, reasoning_format, samples)
    else:
        tool_format = _named("tool", TOOL_FORMATS, tools)
    return OutputFormat(tools=tool_format, reasoning=reasoning_format)


def _named(kind: str, formats: tuple[Format, ...], name: str) -> Format | None:
    by_name = {format_.name: format_ for format_ in formats}
    if name != "none" and name not in by_name:
        raise StartupError(f"unknown {kind} format {name!r}; the valid names are none, {', '.join(by_name)}")
    return by_name.get(name)
