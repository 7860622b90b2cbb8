"""Renders chat templates with transformers, the reference that ours is compared with; only the writing scripts use it.

It needs an environment of its own that holds transformers 4.57.6.
"""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tests.chat_conversations import NAMED_TOKENS, NOW, Conversation, Turn

_SWITCHES: Mapping[str | None, Mapping[str, object]] = {
    None: {},
    "none": {"enable_thinking": False, "thinking": False},
    "high": {"enable_thinking": True, "thinking": True, "reasoning_effort": "high"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnForm:
    """How a template takes turns where templates differ; the default is an empty content beside calls."""

    no_content_is_none: bool = False
    reasoning_is_part: bool = False


class _FrozenClock(datetime):
    """Always tells the same time."""

    @classmethod
    def now(cls, tz: Any = None) -> "_FrozenClock":  # noqa: ANN401 (datetime's own)
        return cls(*NOW, tzinfo=tz)


class HuggingFaceRenderer:
    """`apply_chat_template`, at a fixed time."""

    def __init__(self) -> None:
        self._transformers: Any = importlib.import_module("transformers")
        importlib.import_module("transformers.utils.chat_template_utils").datetime = _FrozenClock  # pyright: ignore[reportAttributeAccessIssue]
        library: Any = importlib.import_module("tokenizers")
        words = library.Tokenizer(library.models.WordLevel({"<unk>": 0}, unk_token="<unk>"))
        self._tokenizer = self._transformers.PreTrainedTokenizerFast(tokenizer_object=words, **NAMED_TOKENS)

    @property
    def version(self) -> str:
        """The library and its version."""
        return f"transformers {self._transformers.__version__}"

    def render(self, source: str, conversation: Conversation, form: TurnForm) -> str | None:
        """The text; None where the template raises."""
        try:
            text: str = self._tokenizer.apply_chat_template(
                [_turn(turn, form) for turn in conversation.messages],
                tools=list(conversation.tools) or None,
                chat_template=source,
                tokenize=False,
                add_generation_prompt=not conversation.continues,
                continue_final_message=conversation.continues,
                **_SWITCHES[conversation.effort],
            )
        except Exception:  # noqa: BLE001 (templates raise anything)
            return None
        return text


def _turn(turn: Turn, form: TurnForm) -> Turn:
    if "tool_calls" in turn and not turn["content"] and form.no_content_is_none:
        return {**turn, "content": None}
    if "thinking" in turn and form.reasoning_is_part:
        text = [{"type": "text", "text": turn["content"]}] if turn["content"] else []
        return {**turn, "content": [{"type": "thinking", "thinking": turn["thinking"]}, *text]}
    return turn
