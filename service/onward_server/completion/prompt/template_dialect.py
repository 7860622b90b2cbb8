"""Finds out, by trial renderings, what a chat template takes and how; it does not know requests."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from onward_server.completion.prompt.template_messages import (
    Dialect,
    TemplateValue,
    Wording,
    template_messages,
    template_tools,
)
from onward_server.domain import FunctionTool, Message, Role, ToolCall

Trial = Callable[[list[TemplateValue], list[TemplateValue] | None], str | None]
"""Renders messages and tools, for an answer; None where the template refuses."""

_USER = Message(role=Role.USER, content=("needleuser",))
_SYSTEM = Message(role=Role.SYSTEM, content=("needlesystem",))
_SECOND_SYSTEM = Message(role=Role.SYSTEM, content=("needlesecond",))
_TOOL = FunctionTool(name="needletool", description="needledescription")
_CALL = ToolCall(id="needle001", name="needlecall", arguments='{"needlekey": "needlevalue"}')
_CALLING = Message(role=Role.ASSISTANT, tool_calls=(_CALL,))
_THINKING = Message(role=Role.ASSISTANT, reasoning="needlethought", tool_calls=(_CALL,))
_RESULT = Message(role=Role.TOOL, content=("needleresult",), tool_call_id=_CALL.id)


def learn_dialect(trial: Trial, trial_with_tools: Trial) -> Dialect:
    """The dialect of a template; `trial_with_tools` renders the one for tools, which may be another."""
    bare, dialect = _Trials(trial), Dialect(takes_many_systems=True)
    if not bare.show(dialect, [_USER], "needleuser"):
        in_parts = replace(dialect, content_is_parts=True)
        dialect = in_parts if bare.show(in_parts, [_USER], "needleuser") else dialect
    dialect = replace(
        dialect,
        takes_system=bare.show(dialect, [_SYSTEM, _USER], "needlesystem"),
        takes_many_systems=bare.show(dialect, [_SYSTEM, _SECOND_SYSTEM, _USER], "needlesystem", "needlesecond"),
    )
    tooled = _Trials(trial_with_tools)
    dialect = replace(dialect, takes_tools=tooled.show(dialect, [_USER], "needletool", tools=[_TOOL]))
    dialect = _with_call_form(dialect, tooled)
    as_part, conversation = replace(dialect, reasoning_is_part=True), [_USER, _THINKING, _RESULT]
    if tooled.show(dialect, conversation, "needlethought") or not tooled.show(as_part, conversation, "needlethought"):
        return dialect
    return as_part


def _with_call_form(dialect: Dialect, trials: "_Trials") -> Dialect:
    """The first form in which a call comes out whole: objects before text, no content before an empty one."""
    for arguments_are_text in (False, True):
        empty = replace(dialect, arguments_are_text=arguments_are_text, takes_tool_calls=True)
        for form in (replace(empty, no_content_is_none=True), empty):
            conversation = [_USER, _CALLING, _RESULT]
            if trials.show(form, conversation, "needlecall", "needlekey", "needlevalue"):
                return (
                    form if trials.count_none(form, conversation) <= trials.count_none(empty, conversation) else empty
                )
    return dialect


class _Trials:
    """Renderings of one template."""

    def __init__(self, trial: Trial) -> None:
        self._trial = trial

    def show(
        self, dialect: Dialect, messages: Sequence[Message], *needles: str, tools: Sequence[FunctionTool] = ()
    ) -> bool:
        """Whether all needles come out, and nothing as Python writes it."""
        text = self._text(dialect, messages, tools)
        is_python = "{'needlekey'" in text or "[{'type'" in text
        return all(needle in text for needle in needles) and not is_python

    def count_none(self, dialect: Dialect, messages: Sequence[Message]) -> int:
        """How often Python's None comes out."""
        return self._text(dialect, messages).count("None")

    def _text(self, dialect: Dialect, messages: Sequence[Message], tools: Sequence[FunctionTool] = ()) -> str:
        """The rendering, with a tool where the template wants one; empty where it refuses."""
        values = template_messages(messages, dialect, Wording())
        text = self._trial(values, template_tools(tools, Wording()))
        return text if text is not None else self._trial(values, template_tools([_TOOL], Wording())) or ""
