"""Our renderings equal those of Hugging Face's renderer, which `tests/write_renderings.py` wrote."""

import json
from collections.abc import Mapping
from functools import cache

import pytest
import yaml

from onward_server.completion.prompt.chat_template import ChatTemplate
from onward_server.errors import InvalidRequest
from tests.chat_conversations import CONVERSATIONS, Conversation
from tests.template_cases import compiled_template, rendered
from tests.template_files import RENDERINGS, template_names, template_source, text_or_hash


@cache
def template(name: str) -> ChatTemplate:
    return compiled_template(template_source(name))


@cache
def expected_texts(name: str) -> Mapping[str, str | None]:
    return json.loads((RENDERINGS / f"{name}.json").read_text(encoding="utf-8"))


def test_every_template_has_an_expected_text_for_every_conversation() -> None:
    assert len(template_names()) >= 20
    assert template_names() == sorted(path.stem for path in RENDERINGS.glob("*.json"))
    assert all(list(expected_texts(name)) == list(CONVERSATIONS) for name in template_names())


@pytest.mark.parametrize("conversation", CONVERSATIONS)
@pytest.mark.parametrize("name", template_names())
def test_the_text_is_that_of_hugging_face(name: str, conversation: str) -> None:
    expected = expected_texts(name)[conversation]
    if expected is None:
        with pytest.raises(InvalidRequest):
            rendered(template(name), CONVERSATIONS[conversation])
    else:
        assert text_or_hash(rendered(template(name), CONVERSATIONS[conversation])) == expected


WRITTEN = yaml.safe_load((RENDERINGS.parent / "written_renderings.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", template_names())
def test_a_rendering_written_by_hand_is_matched(name: str) -> None:
    turns = WRITTEN["conversation"]
    if not template(name).supports_system_role:
        turns = [turn for turn in turns if turn["role"] != "system"]
    assert rendered(template(name), Conversation(messages=turns)) == WRITTEN["texts"][name]
