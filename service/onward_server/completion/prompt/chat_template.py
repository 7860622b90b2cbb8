"""The model's own chat template: messages and tools to the text of a prompt; it does not encode it."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import cast

from onward_server.completion.prompt.control_marks import ControlStrings, unmark, unused_characters
from onward_server.completion.prompt.template_dialect import learn_dialect
from onward_server.completion.prompt.template_engine import Clock, TemplateBroken, TemplateEngine, TemplateRefused
from onward_server.completion.prompt.template_messages import TemplateValue, Wording, template_messages, template_tools
from onward_server.domain import FunctionTool, Message, ReasoningEffort
from onward_server.errors import InvalidReason, InvalidRequest, ModelFolderError
from onward_server.model.json_file import read_json_object
from onward_server.model.tokenizer import RenderedPrompt, Tokenizer

_SWITCHES = ("enable_thinking", "thinking")
_EFFORT = "reasoning_effort"
_TRIAL_BUDGET_S = 0.5
_DELIMITED = re.compile(r"<[|\uff5c].*[|\uff5c]>", re.DOTALL)
"""How control tokens look; DeepSeek's bars are fullwidth."""
_OPEN_REASONING = re.compile(r"(<(?!/)[^<>]*think[^<>]*>|\[THINK\])\s*\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chat:
    """What one rendering is of."""

    messages: Sequence[Message]
    tools: Sequence[FunctionTool]
    reasoning_effort: ReasoningEffort | None
    mark: str
    """Put where no control token may be read."""
    tag: str
    """Put where a message is continued."""


class ChatTemplate:
    """Renders chats for one model; safe to use from several threads.

    The text is that of Hugging Face's renderer. It is marked where a control string stands that the template did not
    write, so that what callers write never becomes a control token. In assistant messages only special tokens count,
    since templates take those apart at others, such as `</think>`.
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
        """Compiles `sources["default"]`, and `sources["tool_use"]` for chats with tools.

        Raises:
            TemplateBroken: one is no template.
        """
        self._named_tokens = dict(named_tokens)
        self._plain = TemplateEngine(sources["default"], clock=clock)
        self._with_tools = TemplateEngine(sources["tool_use"], clock=clock) if "tool_use" in sources else self._plain
        literals = f"{self._plain.literals}\0{self._with_tools.literals}"
        self._special = ControlStrings(special_strings)
        self._control = ControlStrings(
            special_strings | {text for text in control_strings if text in literals or _DELIMITED.fullmatch(text)}
        )
        self._dialect = learn_dialect(partial(self._try, self._plain), partial(self._try, self._with_tools))

    @classmethod
    def load(cls, folder: Path, tokenizer: Tokenizer, *, clock: Clock = datetime.now) -> "ChatTemplate | None":
        """The template of a model folder; None where it has none.

        Raises:
            ModelFolderError: it is broken.
        """
        sources = _sources(folder)
        if not sources:
            return None
        if "default" not in sources:
            raise ModelFolderError(f"{folder} has chat templates named {', '.join(sources)}, but none named default")
        try:
            return cls(
                sources,
                named_tokens=tokenizer.named_tokens,
                special_strings=tokenizer.special_strings,
                control_strings=tokenizer.control_strings,
                clock=clock,
            )
        except TemplateBroken as error:
            raise ModelFolderError(f"{folder}: the chat template is broken: {error}") from error

    @property
    def source(self) -> str:
        """The template's text; the one for tools, where that is another."""
        return self._with_tools.source

    @property
    def supports_tools(self) -> bool:
        """Whether it shows tools to the model."""
        return self._dialect.takes_tools

    @property
    def supports_tool_calls(self) -> bool:
        """Whether it shows earlier tool calls to the model."""
        return self._dialect.takes_tool_calls

    @property
    def supports_system_role(self) -> bool:
        """Whether it shows a system message to the model."""
        return self._dialect.takes_system

    @property
    def supports_reasoning_switch(self) -> bool:
        """Whether thinking can be switched, or its effort chosen."""
        return not self._plain.variables.isdisjoint({*_SWITCHES, _EFFORT})

    def render(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[FunctionTool] = (),
        reasoning_effort: ReasoningEffort | None = None,
    ) -> RenderedPrompt:
        """The prompt for an answer, or for the rest of the last message where that is a prefix.

        Milliseconds for a usual chat; seconds for a template that does not end.

        Raises:
            InvalidRequest: the template refuses the messages, or cannot do what is asked of it.
        """
        strings = self._strings(messages, tools)
        texts = [*strings.said, *strings.answered, *strings.offered, self._plain.source, self._with_tools.source]
        mark, tag = unused_characters(2, texts)
        chat = _Chat(messages=messages, tools=tools, reasoning_effort=reasoning_effort, mark=mark, tag=tag)
        prompt = self._prompt(chat, self._marking(chat) if self._hold_control(strings) else Wording())
        if self._may_join(strings):
            checked = self._prompt(chat, self._marking(chat, ends=True))
            # A template that itself reads a string that would be marked at its ends is left to read it.
            prompt = checked if checked.text == prompt.text else prompt
        return prompt

    def _strings(self, messages: Sequence[Message], tools: Sequence[FunctionTool]) -> "_Strings":
        strings = _Strings()
        wording = Wording(said=_into(strings.said), answered=_into(strings.answered), offered=_into(strings.offered))
        template_messages(messages, self._dialect, wording)
        template_tools(tools, wording)
        return strings

    def _hold_control(self, strings: "_Strings") -> bool:
        return any(map(self._control.are_in, (*strings.said, *strings.offered))) or any(
            map(self._special.are_in, strings.answered)
        )

    def _may_join(self, strings: "_Strings") -> bool:
        return any(map(self._control.may_join, strings.said)) or any(map(self._special.may_join, strings.answered))

    def _marking(self, chat: _Chat, *, ends: bool = False) -> Wording:
        def marked(strings: ControlStrings, text: str) -> str:
            return strings.mark(strings.mark_ends(text, chat.mark) if ends else text, chat.mark)

        return Wording(
            said=partial(marked, self._control),
            answered=partial(marked, self._special),
            offered=partial(self._control.mark, mark=chat.mark),
        )

    def _prompt(self, chat: _Chat, wording: Wording) -> RenderedPrompt:
        last = chat.messages[-1]
        if not last.prefix:
            return unmark(self._run(chat, wording, chat.messages, for_answer=True), chat.mark)
        if any(last.content) or not last.reasoning:
            content = "".join(last.content)
            tagged = replace(last, content=(f"{content}{chat.tag} ",))
            continued = self._continued(chat, wording, tagged, content)
            reason = InvalidReason.INVALID_MESSAGES
        else:
            tagged = replace(last, reasoning=f"{last.reasoning}{chat.tag} ")
            continued = self._continued(chat, wording, tagged, last.reasoning) or self._thinking_on(chat, wording)
            reason = InvalidReason.UNSUPPORTED_BY_MODEL
        if continued is None:
            description = "the model's chat template does not end a prompt with this text, so it cannot be continued"
            raise InvalidRequest.of(f"messages[{len(chat.messages) - 1}].prefix", description, reason)
        return continued

    def _continued(self, chat: _Chat, wording: Wording, tagged: Message, text: str) -> RenderedPrompt | None:
        """The prompt up to the end of the last message's text; None where the template does not write that text.

        White space at the end of the text stays only where the template leaves it, as Hugging Face has it.
        """
        rendered = unmark(self._run(chat, wording, [*chat.messages[:-1], tagged], for_answer=False), chat.mark)
        end = rendered.text.rfind(chat.tag)
        if end < 0 or text.strip() not in rendered.text:
            return None
        is_exact = rendered.text.startswith(f"{chat.tag} ", end)
        prompt = rendered.text[:end] if is_exact else rendered.text[:end].rstrip()
        return RenderedPrompt(text=prompt, boundaries=rendered.boundaries)

    def _thinking_on(self, chat: _Chat, wording: Wording) -> RenderedPrompt | None:
        """The prompt for an answer with the last message's reasoning behind it, where the template opens reasoning."""
        if self.supports_reasoning_switch and chat.reasoning_effort is None:
            chat = replace(chat, reasoning_effort=ReasoningEffort.MEDIUM)
        prompt = self._run(chat, wording, chat.messages[:-1], for_answer=True)
        if not _OPEN_REASONING.search(prompt):
            return None
        return unmark(prompt + wording.answered(chat.messages[-1].reasoning), chat.mark)

    def _run(self, chat: _Chat, wording: Wording, messages: Sequence[Message], *, for_answer: bool) -> str:
        engine = self._with_tools if chat.tools else self._plain
        variables = {
            **self._variables(for_answer=for_answer),
            **_switches(engine, chat.reasoning_effort),
            "messages": template_messages(messages, self._dialect, wording),
            "tools": template_tools(chat.tools, wording),
        }
        try:
            return engine.render(variables)
        except TemplateRefused as error:
            description = f"the model's chat template refuses them: {error}"
            raise InvalidRequest.of("messages", description, InvalidReason.INVALID_MESSAGES) from error

    def _try(
        self, engine: TemplateEngine, messages: list[TemplateValue], tools: list[TemplateValue] | None
    ) -> str | None:
        try:
            variables = {**self._variables(for_answer=True), "messages": messages, "tools": tools}
            return engine.render(variables, budget_s=_TRIAL_BUDGET_S)
        except TemplateRefused:
            return None

    def _variables(self, *, for_answer: bool) -> dict[str, object]:
        return {**self._named_tokens, "documents": None, "add_generation_prompt": for_answer}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Strings:
    """All strings of a chat, by who wrote them, as in Wording."""

    said: list[str] = field(default_factory=list[str])
    answered: list[str] = field(default_factory=list[str])
    offered: list[str] = field(default_factory=list[str])


def _into(strings: list[str]) -> Callable[[str], str]:
    def keep(text: str) -> str:
        strings.append(text)
        return text

    return keep


def _switches(engine: TemplateEngine, effort: ReasoningEffort | None) -> dict[str, object]:
    """The variables by which the template is told how much to think; none leave it its default."""
    if effort is None:
        return {}
    switches: dict[str, object] = {
        name: effort is not ReasoningEffort.NONE for name in _SWITCHES if name in engine.variables
    }
    takes_effort = _EFFORT in engine.variables
    if takes_effort and (effort is not ReasoningEffort.NONE or str(effort) in engine.literals.split("\0")):
        switches[_EFFORT] = str(effort)
    if not switches:
        what = "the model cannot leave out thinking" if takes_effort else "the model's chat template has no such switch"
        raise InvalidRequest.of("reasoning_effort", what, InvalidReason.UNSUPPORTED_BY_MODEL)
    return switches


def _sources(folder: Path) -> Mapping[str, str]:
    """Templates by name: from files of their own, else of the tokenizer's configuration, else of the processor's."""
    files = {path.stem: _read(path) for path in sorted((folder / "additional_chat_templates").glob("*.jinja"))}
    if (path := folder / "chat_template.jinja").is_file():
        files["default"] = _read(path)
    if files:
        return files
    for name in ("tokenizer_config.json", "chat_template.json"):
        if template := read_json_object(folder / name).get("chat_template"):
            return _named(folder / name, template)
    return {}


def _named(path: Path, template: object) -> Mapping[str, str]:
    if isinstance(template, str):
        return {"default": template}
    named: dict[str, str] = {}
    for entry in cast(list[object], template) if isinstance(template, list) else [template]:
        match entry:
            case {"name": str(name), "template": str(source)}:
                named[name] = source
            case _:
                raise ModelFolderError(f"{path}: chat_template must be text, or a list of names with texts")
    return named


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ModelFolderError(f"{path} is not UTF-8 text: {error}") from error
