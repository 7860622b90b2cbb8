"""Renders sample conversations with a chat template, for the detection of the model's output formats."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product

from onward_server.completion.prompt.template_messages import (
    TemplateTraits,
    TextTransforms,
    template_messages,
    tool_variables,
)
from onward_server.completion.prompt.template_probe import Trial
from onward_server.completion.template_samples import RenderedCall, TemplateSamples
from onward_server.domain import FunctionTool, Message, Role, ToolCall
from onward_server.json_value import JsonObject

_ARGUMENTS: JsonObject = {"needlecity": "needle value", "needledays": 3, "needleloud": True}
_SCHEMA = {
    "type": "object",
    "properties": {
        "needlecity": {"type": "string", "description": "A string."},
        "needledays": {"type": "integer", "description": "An integer."},
        "needleloud": {"type": "boolean", "description": "A Boolean."},
    },
    "required": list(_ARGUMENTS),
}
_TOOL = FunctionTool(name="needle_call", description="A tool.", parameters=json.dumps(_SCHEMA))
_USER = Message(role=Role.USER, content=("needleuser",))
_CALL = ToolCall(id="needle001", name=_TOOL.name, arguments=json.dumps(_ARGUMENTS))
_CALLING = Message(role=Role.ASSISTANT, tool_calls=(_CALL,))
_THINKING_AND_CALLING = Message(role=Role.ASSISTANT, reasoning="needlethought", tool_calls=(_CALL,))
_THINKING = Message(role=Role.ASSISTANT, reasoning="needlethought", content=("needletext",))
_REPLY = Message(role=Role.ASSISTANT, content=("needletext",))
_RESULT = Message(role=Role.TOOL, content=("needleresult",), tool_call_id=_CALL.id)


def render_samples(
    plain: Trial,
    with_tools: Trial,
    traits: TemplateTraits,
    settings: Sequence[Mapping[str, object]],
    end_markers: Iterable[str],
) -> TemplateSamples:
    """Returns the samples of a model's chat template.

    Args:
        plain: Renders with the default template.
        with_tools: Renders with the template for tools, which may be the same.
        traits: The traits of the template.
        settings: Variables that turn reasoning on and off; the first one leaves it to the template.
        end_markers: Strings in the template that may end reasoning.
    """
    sampler = _Sampler(with_tools, traits)
    prompts = (_Sampler(plain, traits).render([_USER], for_reply=True, setting=setting) for setting in settings)
    tool_prompts = (sampler.render([_USER], for_reply=True, tools=[_TOOL], setting=setting) for setting in settings)
    return TemplateSamples(
        calls=tuple(sampler.calls()) if traits.supports_tool_calls else (),
        tool_prompts=tuple(filter(None, tool_prompts)) if traits.supports_tools else (),
        reply_prompts=tuple(filter(None, prompts)),
        before_text=tuple(sampler.before_text(settings)),
        reasoning_ends=tuple(sampler.reasoning_ends(end_markers)),
        before_reasoning=tuple(sampler.before_reasoning(settings)),
    )


class _Sampler:
    """Sample renderings of one template."""

    def __init__(self, trial: Trial, traits: TemplateTraits) -> None:
        self._trial = trial
        self._traits = traits

    def render(
        self,
        messages: Sequence[Message],
        *,
        for_reply: bool = False,
        tools: Sequence[FunctionTool] = (),
        setting: Mapping[str, object] | None = None,
    ) -> str:
        """Returns the text; empty if the template raises."""
        values = template_messages(messages, self._traits, TextTransforms(), tools)
        variables = {"messages": values, **tool_variables(tools, self._traits, TextTransforms())}
        return self._trial({"add_generation_prompt": for_reply, **(setting or {}), **variables}) or ""

    def calls(self) -> Iterator[RenderedCall]:
        """Renders the call and cuts it out of the text: after the prompt for it, or after the user's message."""
        reply = self.render([_USER, _REPLY], tools=[_TOOL])
        end = reply.rpartition("needletext")[2]
        prompt = self.render([_USER], for_reply=True, tools=[_TOOL])
        text = self.render([_USER, _CALLING], tools=[_TOOL])
        if prompt and text.startswith(prompt):
            yield from _without_end(prompt, text.removeprefix(prompt), end)
        yield from _without_end("", text.rpartition("needleuser")[2], end)
        answered = self.render([_USER, _CALLING, _RESULT], tools=[_TOOL])
        yield _call("", answered.rpartition("needleresult")[0].rpartition("needleuser")[2])

    def before_text(self, settings: Sequence[Mapping[str, object]]) -> Iterator[str]:
        """Yields the prompt up to the text of an assistant message, for each setting."""
        for setting in settings:
            before, needle, _ = self.render([_USER, _REPLY], setting=setting).rpartition("needletext")
            if needle:
                yield before

    def reasoning_ends(self, end_markers: Iterable[str]) -> Iterator[str]:
        """Yields the markers up to which the template leaves out the text of an earlier assistant message."""
        for marker in end_markers:
            reply = replace(_REPLY, content=(f"needlethought{marker}needletext",))
            text = self.render([_USER, reply, _USER])
            if "needletext" in text and "needlethought" not in text:
                yield marker

    def before_reasoning(self, settings: Sequence[Mapping[str, object]]) -> Iterator[str]:
        """Yields the text before the reasoning of an assistant message, in all conversations that show it."""
        conversations = ([_USER, _THINKING], [_USER, _THINKING_AND_CALLING], [_USER, _THINKING_AND_CALLING, _RESULT])
        for messages, setting in product(conversations, settings):
            before, needle, _ = self.render(messages, tools=[_TOOL], setting=setting).rpartition("needlethought")
            if needle:
                yield before


def _without_end(prompt: str, output: str, end: str) -> Iterator[RenderedCall]:
    """Yields the output without the text that ends an assistant message, and as it is."""
    if end and output.endswith(end):
        yield _call(prompt, output.removesuffix(end))
    if output:
        yield _call(prompt, output)


def _call(prompt: str, output: str) -> RenderedCall:
    return RenderedCall(tool=_TOOL, arguments=_ARGUMENTS, prompt=prompt, output=output)
