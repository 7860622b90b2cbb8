"""Writes what transformers renders of every third-party template and conversation, as hashes to compare with.

Run from the repository's root in the environment that `tests/hugging_face.py` names, with the folder of data:

    python -m tests.public.write_template_hashes DATA

Version 5.23.0 gives the same, except for the eight texts of a template that asks whether a content is None: that
version leaves such a content out.
"""

import hashlib
import json
import sys
from pathlib import Path

from tests.chat_conversations import CONVERSATIONS
from tests.hugging_face import HuggingFaceRenderer, TurnForm

HASHES = Path(__file__).parent / "template_hashes.json"

_FORMS = {
    "deepseek-ai-DeepSeek-R1-Distill-Qwen-32B": TurnForm(no_content_is_none=True),
    "mistralai-Ministral-3-14B-Reasoning-2512": TurnForm(reasoning_is_part=True),
}


def hash_of(text: str) -> str:
    """Sixteen hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def main(templates: Path) -> None:
    """Writes HASHES; null where the template raises."""
    renderer = HuggingFaceRenderer()
    hashes: dict[str, dict[str, str | None]] = {}
    for path in sorted(templates.glob("*.jinja")):
        source, form = path.read_text(encoding="utf-8"), _FORMS.get(path.stem, TurnForm())
        texts = {name: renderer.render(source, conversation, form) for name, conversation in CONVERSATIONS.items()}
        hashes[path.stem] = {name: None if text is None else hash_of(text) for name, text in texts.items()}
    document = {"made_with": renderer.version, "templates": hashes}
    HASHES.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) / "templates")
