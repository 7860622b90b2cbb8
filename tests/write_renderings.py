"""Writes what transformers renders of every template of ours and every conversation, as texts to compare with.

Run `python -m tests.write_renderings` from the root, in the environment that `tests/hugging_face.py` names.
"""

import json

from tests.chat_conversations import CONVERSATIONS
from tests.hugging_face import HuggingFaceRenderer, TurnForm
from tests.template_files import RENDERINGS, TEMPLATES, template_names, template_source, text_or_hash

_FORMS = {
    "bars_thinking": TurnForm(no_content_is_none=True),
    "brackets_thinking": TurnForm(reasoning_is_part=True),
}


def main() -> None:
    """Writes a file for each template into RENDERINGS; null where the template raises."""
    renderer = HuggingFaceRenderer()
    RENDERINGS.mkdir(exist_ok=True)
    for name in template_names():
        source, form = template_source(name), _FORMS.get(name, TurnForm())
        texts = {key: renderer.render(source, conversation, form) for key, conversation in CONVERSATIONS.items()}
        document = {key: None if text is None else text_or_hash(text) for key, text in texts.items()}
        (RENDERINGS / f"{name}.json").write_text(
            json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )
    print(f"{renderer.version}: {len(template_names())} templates of {TEMPLATES}")  # noqa: T201


if __name__ == "__main__":
    main()
