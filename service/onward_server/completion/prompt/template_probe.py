"""Finds the traits of a chat template by trial renderings of small conversations."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from onward_server.completion.prompt.template_messages import (
    CallWriter,
    TemplateTraits,
    TextTransforms,
    template_messages,
    tool_variables,
)
from onward_server.domain import FunctionTool, Message, Role, ToolCall

Trial = Callable[[Mapping[str, object]], str | None]
"""Renders with these variables and a generation prompt; returns None if the template raises."""

_USER = Message(role=Role.USER, content=("needleuser",))
_SYSTEM = Message(role=Role.SYSTEM, content=("needlesystem",))
_SECOND_SYSTEM = Message(role=Role.SYSTEM, content=("needlesecond",))
_EMPTY = Message(role=Role.ASSISTANT)
_TOOL = FunctionTool(name="needletool", description="needledescription")
_CALL = ToolCall(id="needle001", name="needlecall", arguments='{"needlekey": "needlevalue"}')
_CALLING = Message(role=Role.ASSISTANT, tool_calls=(_CALL,))
_REASONING = Message(role=Role.ASSISTANT, reasoning="needlethought", tool_calls=(_CALL,))
_RESULT = Message(role=Role.TOOL, content=("needleresult",), tool_call_id=_CALL.id)


def probe_template(trial: Trial, trial_with_tools: Trial) -> TemplateTraits:
    """Returns the traits of a model's chat template.

    Args:
        trial: Renders with the default template.
        trial_with_tools: Renders with the template for tools, which may be the same.
    """
    plain, traits = _Trials(trial), TemplateTraits(supports_many_system_messages=True)
    if not plain.show(traits, [_USER], "needleuser"):
        as_parts = replace(traits, content_as_parts=True)
        traits = as_parts if plain.show(as_parts, [_USER], "needleuser") else traits
    systems = [_SYSTEM, _SECOND_SYSTEM, _USER]
    traits = replace(
        traits,
        supports_system_role=plain.show(traits, [_SYSTEM, _USER], "needlesystem"),
        supports_many_system_messages=plain.show(traits, systems, "needlesystem", "needlesecond"),
    )
    as_part, conversation = replace(traits, empty_text_as_part=True), [_USER, _EMPTY, _USER]
    if not plain.show(traits, conversation, "needleuser") and plain.show(as_part, conversation, "needleuser"):
        traits = as_part
    with_tools = _Trials(trial_with_tools)
    traits = _probe_tool_calls(_probe_tools(traits, with_tools), with_tools)
    as_part, conversation = replace(traits, reasoning_as_part=True), [_USER, _REASONING, _RESULT]
    shows_reasoning = with_tools.show(traits, conversation, "needlethought")
    return as_part if not shows_reasoning and with_tools.show(as_part, conversation, "needlethought") else traits


def _probe_tools(traits: TemplateTraits, trials: "_Trials") -> TemplateTraits:
    """Returns the first variant that shows tools: in one of two variables, or in the system message."""
    shown = replace(traits, supports_tools=True)
    for variant in (shown, replace(shown, tools_as_xml_tools=True), replace(shown, tools_in_system_message=True)):
        if trials.show(variant, [_USER], "needletool", tools=[_TOOL]):
            return variant
    return traits


def probe_written_calls(traits: TemplateTraits, trial: Trial, write_calls: CallWriter) -> TemplateTraits:
    """Returns the traits with the writer of calls, if the template then shows a call and its result."""
    variant = replace(traits, write_calls=write_calls, supports_tool_calls=True)
    is_shown = _Trials(trial).show(variant, [_USER, _CALLING, _RESULT], "needlekey", "needlevalue", "needleresult")
    return variant if is_shown else traits


def _probe_tool_calls(traits: TemplateTraits, trials: "_Trials") -> TemplateTraits:
    """Returns the first variant that renders a whole tool call. Its id may stand for its name, as ids of Kimi K2 do.

    Arguments as an object are preferred to text, and missing content to empty content, unless that renders a "None".
    """
    for arguments_as_text in (False, True):
        empty = replace(traits, arguments_as_text=arguments_as_text, supports_tool_calls=True)
        for variant in (replace(empty, empty_content_as_none=True), empty):
            conversation = [_USER, _CALLING, _RESULT]
            shows = (
                trials.show(variant, conversation, one, "needlekey", "needlevalue") for one in (_CALL.name, _CALL.id)
            )
            if any(shows):
                has_none = trials.count_none(variant, conversation) > trials.count_none(empty, conversation)
                return empty if has_none else variant
    return traits


class _Trials:
    """Renderings of one template."""

    def __init__(self, trial: Trial) -> None:
        self._trial = trial

    def show(
        self, traits: TemplateTraits, messages: Sequence[Message], *needles: str, tools: Sequence[FunctionTool] = ()
    ) -> bool:
        """Whether the rendering contains all needles, and no value in Python's notation."""
        text = self._text(traits, messages, tools)
        is_python = "{'needlekey'" in text or "[{'type'" in text
        return all(needle in text for needle in needles) and not is_python

    def count_none(self, traits: TemplateTraits, messages: Sequence[Message]) -> int:
        """Returns how often the rendering contains Python's "None"."""
        return self._text(traits, messages).count("None")

    def _text(self, traits: TemplateTraits, messages: Sequence[Message], tools: Sequence[FunctionTool] = ()) -> str:
        """Returns the rendering. If the template raises, tries again with a tool; empty if that raises, too."""
        text = self._run(traits, messages, tools)
        return text if text is not None else self._run(traits, messages, [_TOOL]) or ""

    def _run(self, traits: TemplateTraits, messages: Sequence[Message], tools: Sequence[FunctionTool]) -> str | None:
        values = template_messages(messages, traits, TextTransforms(), tools)
        return self._trial({"messages": values, **tool_variables(tools, traits, TextTransforms())})
