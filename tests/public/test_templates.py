"""Real chat templates are rendered as by Hugging Face's renderer and by llama.cpp's tests, and get their formats."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onward_server.completion.prompt.chat_template import ChatTemplate
from onward_server.completion.prompt.template_engine import TemplateEngine
from onward_server.domain import Role
from onward_server.errors import InvalidRequest
from tests.chat_conversations import CONVERSATIONS
from tests.control_tokens import assert_control_tokens_are_those_of_the_template
from tests.public.write_template_hashes import HASHES, hash_of
from tests.template_cases import compiled_template, domain_message, rendered, template_formats

EXPECTED: Mapping[str, Mapping[str, str | None]] = json.loads(HASHES.read_text(encoding="utf-8"))["templates"]
FORMATS = {
    "HuggingFaceTB-SmolLM3-3B": (None, "think"),
    "Mistral-Small-3.2-24B-Instruct-2506": ("mistral_call_id", None),
    "NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use": ("hermes", None),
    "NousResearch-Hermes-3-Llama-3.1-8B-tool_use": ("hermes", None),
    "Qwen-Qwen2.5-7B-Instruct": ("hermes", None),
    "Qwen-Qwen3-0.6B": ("hermes", "think"),
    "Qwen3-Coder": ("qwen3_coder", None),
    "Qwen3.5-4B": ("qwen3_coder", "think"),
    "deepseek-ai-DeepSeek-R1-Distill-Qwen-32B": ("deepseek_r1", "think"),
    "deepseek-ai-DeepSeek-V3.1": ("deepseek_v31", "think"),
    "google-gemma-2-2b-it": (None, None),
    "google-gemma-4-31B-it": ("gemma4", "gemma"),
    "ibm-granite-granite-3.3-2B-Instruct": ("granite", "granite"),
    "ibm-granite-granite-4.0": ("hermes", None),
    "meta-llama-Llama-3.1-8B-Instruct": ("llama3", None),
    "meta-llama-Llama-3.2-3B-Instruct": ("llama3", None),
    "microsoft-Phi-3.5-mini-instruct": (None, None),
    "mistralai-Ministral-3-14B-Reasoning-2512": ("mistral", "mistral"),
    "mistralai-Mistral-Nemo-Instruct-2407": ("mistral_list", None),
    "openai-gpt-oss-120b": ("harmony", "harmony"),
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The renderings of llama.cpp's tests that stock Jinja gives; for the others, it changes the messages first."""
    if "recorded" in metafunc.fixturenames:
        path = Path(str(metafunc.config.getoption("data"))) / "templates/renderings.json"
        cases: list[Any] = json.loads(path.read_text(encoding="utf-8"))
        matching = [case for case in cases if case["python_jinja2_matches"]]
        metafunc.parametrize("recorded", [pytest.param(case, id=case["name"]) for case in matching])


@cache
def source(data: Path, name: str) -> str:
    return (data / "templates" / f"{name}.jinja").read_text(encoding="utf-8")


@cache
def template(data: Path, name: str) -> ChatTemplate:
    return compiled_template(source(data, name))


def test_every_template_has_been_compared(data: Path) -> None:
    assert sorted(EXPECTED) == sorted(path.stem for path in (data / "templates").glob("*.jinja"))
    assert all(row.keys() == CONVERSATIONS.keys() for row in EXPECTED.values())


@pytest.mark.parametrize("conversation", CONVERSATIONS)
@pytest.mark.parametrize("name", EXPECTED)
def test_the_text_is_that_of_hugging_face(data: Path, name: str, conversation: str) -> None:
    expected = EXPECTED[name][conversation]
    if expected is None:
        with pytest.raises(InvalidRequest):
            rendered(template(data, name), CONVERSATIONS[conversation])
    else:
        assert hash_of(rendered(template(data, name), CONVERSATIONS[conversation])) == expected


def test_a_rendering_of_the_collection_is_matched(recorded: Mapping[str, Any]) -> None:
    named_tokens = {name: recorded[name] for name in ("bos_token", "eos_token")}
    turns = recorded["messages"]
    if {turn["role"] for turn in turns} <= set(Role):
        chat_template = ChatTemplate({"default": recorded["template"]}, named_tokens=named_tokens)
        text = chat_template.render([domain_message(turn) for turn in turns]).text
    else:  # roles of llama.cpp's own
        variables = {**named_tokens, "messages": turns, "tools": None, "add_generation_prompt": True}
        text = TemplateEngine(recorded["template"]).render(variables)
    assert text == (recorded["expected_jinja"] or recorded["expected_builtin"])


@pytest.mark.parametrize("name", EXPECTED)
@settings(max_examples=20)
@given(drawn=st.data())
def test_control_tokens_do_not_depend_on_what_callers_write(data: Path, name: str, drawn: st.DataObject) -> None:
    assert_control_tokens_are_those_of_the_template(source(data, name), drawn)


def test_every_real_template_gets_its_formats(data: Path) -> None:
    chosen = {path.stem: template_formats(path.read_text()) for path in (data / "templates").glob("*.jinja")}

    assert {
        name: (format_.tools and format_.tools.name, format_.reasoning and format_.reasoning.name)
        for name, format_ in chosen.items()
    } == FORMATS
