"""What a chat template renders for a few sample conversations; the output formats of the model are detected from it."""

from dataclasses import dataclass

from onward_server.domain import FunctionTool
from onward_server.json_value import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedCall:
    """An assistant message with a tool call, as the template renders it."""

    tool: FunctionTool
    """The tool that is called."""
    arguments: Json
    prompt: str
    """The text before the message, or empty if the template does not say where the message starts."""
    output: str
    """The text of the message, in place of what a model would write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateSamples:
    """Renderings of one chat template. Empty for a model without a template."""

    calls: tuple[RenderedCall, ...] = ()
    """A call in different conversations, cut out differently; empty if the template renders no calls."""
    tool_prompts: tuple[str, ...] = ()
    """Prompts that offer a tool; empty if the template shows no tools to the model."""
    reply_prompts: tuple[str, ...] = ()
    """Prompts without tools, for each setting of the template's reasoning switches."""
    before_text: tuple[str, ...] = ()
    """The prompts up to the text of a past reply."""
    reasoning_ends: tuple[str, ...] = ()
    """The markers up to which the template leaves out the text of a past reply."""
    before_reasoning: tuple[str, ...] = ()
    """The text before the sample reasoning of an assistant message; empty if the template renders no reasoning."""
