"""Writes what Hugging Face's renderer makes of every template and conversation, as hashes that tests compare with.

Run in an environment of its own that holds transformers 4.57.6, from the repository's root:

    python -m tests.write_template_hashes ../shared/data/templates tests/data/template_hashes.json

Version 5.23.0 gives the same, but for the eight texts of one template that asks whether a content is None: that version
leaves such a content out.
"""

import hashlib
import importlib
import json
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.chat_conversations import CONVERSATIONS, NAMED_TOKENS, NOW, Conversation, Turn

# What a template wants where templates differ. Without a word here: an empty content beside calls, reasoning beside it.
NO_CONTENT_IS_NONE = {"deepseek-ai-DeepSeek-R1-Distill-Qwen-32B"}
REASONING_IS_PART = {"mistralai-Ministral-3-14B-Reasoning-2512"}

SWITCHES: Mapping[str | None, Mapping[str, object]] = {
    None: {},
    "none": {"enable_thinking": False, "thinking": False},
    "high": {"enable_thinking": True, "thinking": True, "reasoning_effort": "high"},
}


class FrozenClock(datetime):
    """Always tells the same time."""

    @classmethod
    def now(cls, tz: Any = None) -> "FrozenClock":  # noqa: ANN401 (datetime's own)
        return cls(*NOW, tzinfo=tz)


def main(templates: Path, output: Path) -> None:
    transformers: Any = importlib.import_module("transformers")
    importlib.import_module("transformers.utils.chat_template_utils").datetime = FrozenClock  # pyright: ignore[reportAttributeAccessIssue]
    library: Any = importlib.import_module("tokenizers")
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=library.Tokenizer(library.models.WordLevel({"<unk>": 0}, unk_token="<unk>")), **NAMED_TOKENS
    )
    hashes = {
        path.stem: {name: _hash(tokenizer, path, conversation) for name, conversation in CONVERSATIONS.items()}
        for path in sorted(templates.glob("*.jinja"))
    }
    document = {"made_with": f"transformers {transformers.__version__}", "templates": hashes}
    output.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    refused = sum(value is None for row in hashes.values() for value in row.values())
    print(f"{len(hashes)} templates, {len(CONVERSATIONS)} conversations, {refused} refused")  # noqa: T201


def _hash(tokenizer: Any, path: Path, conversation: Conversation) -> str | None:  # noqa: ANN401
    """The hash of the text; None where the template refuses."""
    try:
        text: str = tokenizer.apply_chat_template(
            [_turn(path.stem, turn) for turn in conversation.messages],
            tools=list(conversation.tools) or None,
            chat_template=path.read_text(encoding="utf-8"),
            tokenize=False,
            add_generation_prompt=not conversation.continues,
            continue_final_message=conversation.continues,
            **SWITCHES[conversation.effort],
        )
    except Exception:  # noqa: BLE001 (templates raise anything)
        return None
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _turn(template: str, turn: Turn) -> Turn:
    if "tool_calls" in turn and not turn["content"] and template in NO_CONTENT_IS_NONE:
        return {**turn, "content": None}
    if "thinking" in turn and template in REASONING_IS_PART:
        text = [{"type": "text", "text": turn["content"]}] if turn["content"] else []
        return {**turn, "content": [{"type": "thinking", "thinking": turn["thinking"]}, *text]}
    return turn


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
