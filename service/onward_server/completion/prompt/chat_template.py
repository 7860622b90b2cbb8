"""Renders a model's own chat template: from messages and tools to the text of a prompt."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path

from onward_server.completion.prompt.sample_renderings import render_samples
from onward_server.completion.prompt.sentinels import ControlStrings, remove_sentinels, unused_characters
from onward_server.completion.prompt.template_engine import Clock, InvalidTemplate, RenderingFailed, TemplateEngine
from onward_server.completion.prompt.template_messages import (
    CallWriter,
    TextTransforms,
    template_messages,
    template_tools,
    tool_variables,
)
from onward_server.completion.prompt.template_probe import probe_template, probe_written_calls
from onward_server.completion.prompt.template_sources import folder_templates, named_template
from onward_server.completion.template_samples import TemplateSamples
from onward_server.domain import FunctionTool, Message, ReasoningEffort
from onward_server.errors import InvalidReason, InvalidRequest, ModelFolderError, StartupError
from onward_server.model.tokenizer import RenderedPrompt, Tokenizer

_SWITCHES = ("enable_thinking", "thinking")
_EFFORT = "reasoning_effort"
_TRIAL_BUDGET_S = 0.5
_DELIMITED = re.compile(r"<[|\uff5c].*[|\uff5c]>", re.DOTALL)
"""Matches strings that look like control tokens; DeepSeek's bars are fullwidth."""
_REASONING_END = re.compile(r"</[^<>\s\0]*think[^<>\s\0]*>|\[/THINK\]", re.IGNORECASE)
_OPEN_REASONING = re.compile(r"(<(?!/)[^<>]*think[^<>]*>|\[THINK\])\s*\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chat:
    """What a prompt is rendered from."""

    messages: Sequence[Message]
    tools: Sequence[FunctionTool]
    reasoning_effort: ReasoningEffort | None
    sentinel: str
    """A character inserted where text must not be read as a control token."""
    end_sentinel: str
    """A character inserted at the end of a message that the model is to continue."""


class ChatTemplate:
    """Renders the chats of one model; safe to use from several threads.

    The text is the same as that of Hugging Face's renderer. The rendered prompt has a boundary in every control string
    that the template did not write, so that text from callers never becomes a control token. In assistant messages this
    holds for special tokens only, since templates split these messages at other control strings, such as `</think>`.
    """

    def __init__(
        self,
        sources: Mapping[str, str],
        *,
        named_tokens: Mapping[str, str],
        special_strings: frozenset[str] = frozenset(),
        control_strings: frozenset[str] = frozenset(),
        clock: Clock = datetime.now,
    ) -> None:
        """Compiles the templates and probes their traits by trial renderings.

        Args:
            sources: The template "default", and optionally "tool_use" for chats with tools.
            named_tokens: Texts of `bos_token` and so on, which templates read under these names.
            special_strings: Texts of the tokenizer's special tokens.
            control_strings: Texts of all added tokens that may be control tokens. One that is not a special token
                counts only if the template writes it or if it is delimited like `<|…|>`.
            clock: Tells the time to templates that ask for it.

        Raises:
            InvalidTemplate: A source is not a Jinja template.
        """
        self._named_tokens = dict(named_tokens)
        self._plain = TemplateEngine(sources["default"], clock=clock)
        self._with_tools = TemplateEngine(sources["tool_use"], clock=clock) if "tool_use" in sources else self._plain
        literals = f"{self._plain.literals}\0{self._with_tools.literals}"
        self._special = ControlStrings(special_strings)
        self._control = ControlStrings(
            special_strings | {text for text in control_strings if text in literals or _DELIMITED.fullmatch(text)}
        )
        self._traits = probe_template(partial(self._try, self._plain), partial(self._try, self._with_tools))

    @classmethod
    def load(
        cls, folder: Path, tokenizer: Tokenizer, *, named: str | None = None, clock: Clock = datetime.now
    ) -> "ChatTemplate | None":
        """Loads the chat template of a model.

        Args:
            folder: The model folder.
            tokenizer: The model's tokenizer.
            named: The template to use instead of the folder's: a file, or the name of a template of the server.
            clock: Tells the time to templates that ask for it.

        Returns:
            The template; None if none is named and the folder has none.

        Raises:
            StartupError: The template is invalid, or the named one does not exist.
        """
        sources = folder_templates(folder) if named is None else {"default": named_template(named)}
        if not sources:
            return None
        if "default" not in sources:
            names = ", ".join(sources)
            raise ModelFolderError(f"{folder} has the chat templates {names}, but one must be named default")
        try:
            return cls(
                sources,
                named_tokens=tokenizer.named_tokens,
                special_strings=tokenizer.special_strings,
                control_strings=tokenizer.control_strings,
                clock=clock,
            )
        except InvalidTemplate as error:
            if named is not None:
                raise StartupError(f"--chat-template: {named} is not a valid Jinja template: {error}") from error
            raise ModelFolderError(f"{folder}: the chat template is invalid: {error}") from error

    @property
    def source(self) -> str:
        """The text of the template for chats with tools."""
        return self._with_tools.source

    def render_samples(self) -> TemplateSamples:
        """Renders sample conversations, from which the formats of the model are detected."""
        return render_samples(
            partial(self._try, self._plain),
            partial(self._try, self._with_tools),
            self._traits,
            self._settings(),
            dict.fromkeys(_REASONING_END.findall(f"{self._plain.literals}\0{self._with_tools.literals}")),
        )

    def write_calls_with(self, writer: CallWriter) -> None:
        """Writes earlier tool calls into the content of their messages, unless the template renders them itself.

        Called before the first rendering.
        """
        if not self._traits.supports_tool_calls:
            self._traits = probe_written_calls(self._traits, partial(self._try, self._with_tools), writer)

    @property
    def supports_tools(self) -> bool:
        """Whether the template shows tools to the model."""
        return self._traits.supports_tools

    @property
    def supports_tool_calls(self) -> bool:
        """Whether the template shows earlier tool calls to the model."""
        return self._traits.supports_tool_calls

    @property
    def supports_system_role(self) -> bool:
        """Whether the template shows a system message to the model."""
        return self._traits.supports_system_role

    @property
    def supports_reasoning_switch(self) -> bool:
        """Whether the template can turn reasoning on and off, or choose its effort."""
        return not self._plain.variables.isdisjoint({*_SWITCHES, _EFFORT})

    def render(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[FunctionTool] = (),
        reasoning_effort: ReasoningEffort | None = None,
    ) -> RenderedPrompt:
        """Renders the prompt for a new assistant message, or for the rest of the last one if that is a prefix.

        Takes milliseconds for a usual chat, and up to seconds for a template that does not end.

        Raises:
            InvalidRequest: The template rejects the messages, or does not support what the request asks for.
        """
        strings = self._strings(messages, tools)
        texts = [*strings.caller, *strings.assistant, *strings.tools, self._plain.source, self._with_tools.source]
        sentinel, end_sentinel = unused_characters(2, texts)
        chat = _Chat(
            messages=messages,
            tools=tools,
            reasoning_effort=reasoning_effort,
            sentinel=sentinel,
            end_sentinel=end_sentinel,
        )
        is_control = self._contain_control(strings)
        prompt = self._prompt(chat, self._guarding(chat) if is_control else TextTransforms())
        if self._may_join(strings):
            guarded = self._prompt(chat, self._guarding(chat, ends=True))
            # If the template compares a string, a sentinel at its end changes the text. Then the ends stay unguarded.
            prompt = guarded if guarded.text == prompt.text else prompt
        return prompt

    def _strings(self, messages: Sequence[Message], tools: Sequence[FunctionTool]) -> "_Strings":
        strings = _Strings()
        collect = TextTransforms(
            caller_text=_into(strings.caller),
            assistant_text=_into(strings.assistant),
            tool_definition=_into(strings.tools),
        )
        template_messages(messages, self._traits, collect)
        template_tools(tools, collect)
        return strings

    def _contain_control(self, strings: "_Strings") -> bool:
        return any(map(self._control.occur_in, (*strings.caller, *strings.tools))) or any(
            map(self._special.occur_in, strings.assistant)
        )

    def _may_join(self, strings: "_Strings") -> bool:
        return any(map(self._control.may_join, strings.caller)) or any(map(self._special.may_join, strings.assistant))

    def _guarding(self, chat: _Chat, *, ends: bool = False) -> TextTransforms:
        """Returns transforms that insert the sentinel into control strings.

        If `ends` is set, they also insert it at those ends of strings that could become part of a control string.
        """

        def guarded(strings: ControlStrings, text: str) -> str:
            return strings.split(strings.guard_ends(text, chat.sentinel) if ends else text, chat.sentinel)

        return TextTransforms(
            caller_text=partial(guarded, self._control),
            assistant_text=partial(guarded, self._special),
            tool_definition=partial(self._control.split, sentinel=chat.sentinel),
        )

    def _prompt(self, chat: _Chat, transforms: TextTransforms) -> RenderedPrompt:
        last = chat.messages[-1]
        if not last.prefix:
            return remove_sentinels(self._run(chat, transforms, chat.messages, for_reply=True), chat.sentinel)
        if any(last.content) or not last.reasoning:
            content = "".join(last.content)
            marked = replace(last, content=(f"{content}{chat.end_sentinel} ",))
            continued = self._continued(chat, transforms, marked, content)
            reason = InvalidReason.INVALID_MESSAGES
        else:
            marked = replace(last, reasoning=f"{last.reasoning}{chat.end_sentinel} ")
            continued = self._continued(chat, transforms, marked, last.reasoning)
            continued = continued or self._continued_reasoning(chat, transforms)
            reason = InvalidReason.UNSUPPORTED_BY_MODEL
        if continued is None:
            description = "the model's chat template does not render this text at the end, so it cannot be continued"
            raise InvalidRequest.of(f"messages[{len(chat.messages) - 1}].prefix", description, reason)
        return continued

    def _continued(self, chat: _Chat, transforms: TextTransforms, marked: Message, text: str) -> RenderedPrompt | None:
        """Returns the prompt up to the end of the last message's text; None if the template does not render that text.

        Trailing white space of the text stays only if the template keeps it, as in Hugging Face's renderer.
        """
        rendering = self._run(chat, transforms, [*chat.messages[:-1], marked], for_reply=False)
        rendered = remove_sentinels(rendering, chat.sentinel)
        end = rendered.text.rfind(chat.end_sentinel)
        if end < 0 or text.strip() not in rendered.text:
            return None
        is_exact = rendered.text.startswith(f"{chat.end_sentinel} ", end)
        prompt = rendered.text[:end] if is_exact else rendered.text[:end].rstrip()
        return RenderedPrompt(text=prompt, boundaries=rendered.boundaries)

    def _continued_reasoning(self, chat: _Chat, transforms: TextTransforms) -> RenderedPrompt | None:
        """Returns the prompt for a new message followed by the reasoning of the last message.

        None if the prompt for a new message does not end with the beginning of reasoning.
        """
        if self.supports_reasoning_switch and chat.reasoning_effort is None:
            chat = replace(chat, reasoning_effort=ReasoningEffort.MEDIUM)
        prompt = self._run(chat, transforms, chat.messages[:-1], for_reply=True)
        if not _OPEN_REASONING.search(prompt):
            return None
        return remove_sentinels(prompt + transforms.assistant_text(chat.messages[-1].reasoning), chat.sentinel)

    def _run(self, chat: _Chat, transforms: TextTransforms, messages: Sequence[Message], *, for_reply: bool) -> str:
        engine = self._with_tools if chat.tools else self._plain
        variables = {
            **self._variables(for_reply=for_reply),
            **_switches(engine, chat.reasoning_effort),
            "messages": template_messages(messages, self._traits, transforms, chat.tools),
            **tool_variables(chat.tools, self._traits, transforms),
        }
        try:
            return engine.render(variables)
        except RenderingFailed as error:
            description = f"the model's chat template rejects them: {error}"
            raise InvalidRequest.of("messages", description, InvalidReason.INVALID_MESSAGES) from error

    def _try(self, engine: TemplateEngine, variables: Mapping[str, object]) -> str | None:
        try:
            return engine.render({**self._variables(for_reply=True), **variables}, budget_s=_TRIAL_BUDGET_S)
        except RenderingFailed:
            return None

    def _settings(self) -> list[Mapping[str, object]]:
        """Returns the variables for each setting of the reasoning switches; at first, none of them is set."""
        switches = [name for name in _SWITCHES if name in self._plain.variables | self._with_tools.variables]
        return [{}, *(dict.fromkeys(switches, is_on) for is_on in (True, False) if switches)]

    def _variables(self, *, for_reply: bool) -> dict[str, object]:
        return {**self._named_tokens, "documents": None, "add_generation_prompt": for_reply}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Strings:
    """All strings of a chat, grouped by author as in `TextTransforms`."""

    caller: list[str] = field(default_factory=list[str])
    assistant: list[str] = field(default_factory=list[str])
    tools: list[str] = field(default_factory=list[str])


def _into(strings: list[str]) -> Callable[[str], str]:
    """Returns a transform that changes nothing and appends each text to the list."""

    def append(text: str) -> str:
        strings.append(text)
        return text

    return append


def _switches(engine: TemplateEngine, effort: ReasoningEffort | None) -> dict[str, object]:
    """Returns the variables that tell the template how much the model should reason; None leaves it to the template.

    Raises:
        InvalidRequest: The template has no variable for this effort.
    """
    if effort is None:
        return {}
    switches: dict[str, object] = {
        name: effort is not ReasoningEffort.NONE for name in _SWITCHES if name in engine.variables
    }
    takes_effort = _EFFORT in engine.variables
    if takes_effort and (effort is not ReasoningEffort.NONE or str(effort) in engine.literals.split("\0")):
        switches[_EFFORT] = str(effort)
    if not switches:
        lack = "cannot turn reasoning off" if takes_effort else "has no switch for reasoning"
        description = f"{effort}: the model's chat template {lack}"
        raise InvalidRequest.of("reasoning_effort", description, InvalidReason.UNSUPPORTED_BY_MODEL)
    return switches
