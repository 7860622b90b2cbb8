"""Chat templates that the operator names instead of the model's: files, and those that come with the server."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onward_server.completion.prompt.chat_template import ChatTemplate
from onward_server.completion.prompt.template_sources import named_template, own_template_names
from onward_server.errors import StartupError
from tests.chat_conversations import CONVERSATIONS, Effort
from tests.control_tokens import assert_control_tokens_are_those_of_the_template
from tests.sample_tokenizers import load
from tests.template_cases import compiled_template, domain_message, rendered, template_formats

OWN_TEMPLATES = own_template_names()


def test_there_are_templates_for_models_whose_own_show_no_tools() -> None:
    assert OWN_TEMPLATES == ["deepseek_r1", "deepseek_v31"]


@pytest.mark.parametrize("name", OWN_TEMPLATES)
def test_a_template_of_the_server_shows_tools_and_calls_in_the_format_of_its_name(name: str) -> None:
    template = compiled_template(named_template(name))

    assert template.supports_tools
    assert template.supports_tool_calls
    assert template.supports_system_role
    assert template_formats(named_template(name)).names == (name, "think")


@pytest.mark.parametrize("conversation", CONVERSATIONS)
@pytest.mark.parametrize("name", OWN_TEMPLATES)
def test_a_template_of_the_server_renders_what_every_message_says(name: str, conversation: str) -> None:
    case = CONVERSATIONS[conversation]

    text = rendered(compiled_template(named_template(name)), case)

    assert text.startswith("<s>")
    shown = [message.content[0] for message in map(domain_message, case.messages) if message.content]
    assert [content for content in shown if content.strip() not in text] == []
    assert text.count("### ") >= len(case.tools)


@pytest.mark.parametrize(
    ("name", "effort", "end"),
    [
        ("deepseek_v31", None, "<\uff5cAssistant\uff5c></think>"),
        ("deepseek_v31", "none", "<\uff5cAssistant\uff5c></think>"),
        ("deepseek_v31", "high", "<\uff5cAssistant\uff5c><think>"),
        ("deepseek_r1", None, "<\uff5cAssistant\uff5c><think>\n"),
    ],
)
def test_the_reply_to_a_question_begins_as_the_reasoning_effort_says(
    name: str, effort: Effort | None, end: str
) -> None:
    text = rendered(compiled_template(named_template(name)), replace(CONVERSATIONS["one question"], effort=effort))

    assert text.endswith(end)


@pytest.mark.parametrize("name", OWN_TEMPLATES)
@settings(max_examples=20)
@given(data=st.data())
def test_control_tokens_of_a_template_of_the_server_do_not_depend_on_what_callers_write(
    name: str, data: st.DataObject
) -> None:
    assert_control_tokens_are_those_of_the_template(named_template(name), data)


def test_a_file_replaces_the_template_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "chat_template.jinja").write_text("of the folder")
    (tmp_path / "other.jinja").write_text("{{ messages[0].content }} from the file")

    template = ChatTemplate.load(tmp_path, load("byte_level"), named=str(tmp_path / "other.jinja"))

    assert template is not None
    assert template.source == "{{ messages[0].content }} from the file"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "is neither a file nor one of deepseek_r1, deepseek_v31"),
        (b"\xff", "is not UTF-8 text"),
        (b"{% if %}", "is not a valid Jinja template: line 1: Expected an expression"),
    ],
)
def test_a_named_template_that_cannot_be_used_is_rejected(
    tmp_path: Path, content: bytes | None, complaint: str
) -> None:
    path = tmp_path / "other.jinja"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(StartupError, match=rf"^--chat-template: .*other\.jinja'? {complaint}"):
        ChatTemplate.load(tmp_path, load("byte_level"), named=str(path))


def test_a_named_template_that_the_user_may_not_read_is_rejected_with_the_user_and_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "other.jinja"
    path.write_text("")

    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "open", refuse)

    with pytest.raises(StartupError, match=rf"^--chat-template: uid \d+ may not read {path} "):
        named_template(str(path))
