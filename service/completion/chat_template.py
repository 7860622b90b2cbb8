"""The model's own chat template: messages and tools to the text of a prompt; it does not encode it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
import re

from service.completion.control_marks import ControlStrings, unmark, unused_characters
from service.completion.template_dialect import learn_dialect
from service.completion.template_engine import Clock, TemplateBroken, TemplateEngine, TemplateRefused
from service.completion.template_messages import Dialect, TemplateValue, Wording, template_messages, template_tools
from service.domain import FunctionTool, Message, ReasoningEffort
from service.errors import InvalidReason, InvalidRequest, ModelFolderError
from service.model.tokenizer import MarkedText, Tokenizer, json_object

_SWITCHES = ("enable_thinking", "thinking")
_EFFORT = "reasoning_effort"
_DELIMITED = re.compile(r"<[|｜].*[|｜]>", re.DOTALL)
_OPEN_REASONING = re.compile(r"(<(?!/)[^<>]*think[^<>]*>|\[THINK\])\s*\Z")


class ChatTemplate:
    """Renders chats for one model; safe to use from several threads.

    What callers write never becomes a control token: the text is that of Hugging Face's renderer, and marked where it
    holds a control string that the template did not write. In assistant messages only special tokens count, since
    templates take those apart at others, such as `</think>`.
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
        written = self._plain.literals + "\0" + self._with_tools.literals
        self._special = ControlStrings(special_strings)
        self._control = ControlStrings(
            special_strings | {text for text in control_strings if text in written or _DELIMITED.fullmatch(text)}
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
            raise ModelFolderError(f"{folder} has chat templates named {', '.join(sources)}, and none named default")
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
        """The template's text; with tools, where that is another."""
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
    ) -> MarkedText:
        """The prompt for an answer, or for the rest of a last message with `prefix`.

        Milliseconds for a usual chat, two seconds at most for a template that does not end.

        Raises:
            InvalidRequest: the template refuses the messages, or cannot do what is asked of it.
        """
        ...
