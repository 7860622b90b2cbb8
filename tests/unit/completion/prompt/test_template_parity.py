"""Our renderings against those of Hugging Face's renderer, by hashes that `tests/write_template_hashes.py` makes."""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from onward_server.completion.prompt.chat_template import ChatTemplate
from onward_server.completion.prompt.template_engine import TemplateEngine
from onward_server.domain import FunctionTool, Message, ReasoningEffort, Role, ToolCall
from onward_server.errors import InvalidRequest
from tests.chat_conversations import CONVERSATIONS, NAMED_TOKENS, NOW, Conversation

TEMPLATES = Path(__file__).parents[5] / "shared" / "data" / "templates"
HASHES: Mapping[str, Mapping[str, str | None]] = json.loads(
    (Path(__file__).parents[3] / "data" / "template_hashes.json").read_text(encoding="utf-8")
)["templates"]

pytestmark = pytest.mark.skipif(not TEMPLATES.is_dir(), reason=f"the templates are not there: {TEMPLATES}")


@cache
def load(name: str) -> ChatTemplate:
    source = (TEMPLATES / f"{name}.jinja").read_text(encoding="utf-8")
    return ChatTemplate({"default": source}, named_tokens=NAMED_TOKENS, clock=lambda: datetime(*NOW))  # noqa: DTZ001


def message(turn: Any, *, prefix: bool = False) -> Message:  # noqa: ANN401
    return Message(
        role=Role(turn["role"]),
        content=(turn["content"],) if turn["content"] else (),
        name=turn.get("name", ""),
        reasoning=turn.get("thinking", ""),
        tool_call_id=turn.get("tool_call_id", ""),
        tool_calls=tuple(
            ToolCall(id=call["id"], name=call["function"]["name"], arguments=json.dumps(call["function"]["arguments"]))
            for call in turn.get("tool_calls", ())
        ),
        prefix=prefix,
    )


def function_tool(tool: Any) -> FunctionTool:  # noqa: ANN401
    function = tool["function"]
    return FunctionTool(
        name=function["name"], description=function["description"], parameters=json.dumps(function["parameters"])
    )


def render(template: ChatTemplate, conversation: Conversation) -> str:
    """Leaves out a wish for thinking that the template cannot be told."""
    effort = ReasoningEffort(conversation.effort) if conversation.effort else None
    *others, last = conversation.messages
    messages = [*map(message, others), message(last, prefix=conversation.continues)]
    tools = [function_tool(tool) for tool in conversation.tools]
    try:
        return template.render(messages, tools=tools, reasoning_effort=effort).text
    except InvalidRequest as error:
        if error.violations[0].field != "reasoning_effort":
            raise
        return template.render(messages, tools=tools).text


def test_every_template_has_been_compared() -> None:
    assert sorted(HASHES) == sorted(path.stem for path in TEMPLATES.glob("*.jinja"))
    assert all(row.keys() == CONVERSATIONS.keys() for row in HASHES.values())


@pytest.mark.parametrize("conversation", CONVERSATIONS)
@pytest.mark.parametrize("name", HASHES)
def test_the_text_is_that_of_hugging_face(name: str, conversation: str) -> None:
    expected = HASHES[name][conversation]
    if expected is None:
        with pytest.raises(InvalidRequest):
            render(load(name), CONVERSATIONS[conversation])
    else:
        text = render(load(name), CONVERSATIONS[conversation])
        assert hashlib.sha256(text.encode()).hexdigest()[:16] == expected


def renderings() -> list[Mapping[str, Any]]:
    """Those that stock Jinja gives; for the others, llama.cpp changes the messages first."""
    path = TEMPLATES / "renderings.json"
    cases: list[Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    return [case for case in cases if case["python_jinja2_matches"]]


@pytest.mark.parametrize("case", [pytest.param(case, id=case["name"]) for case in renderings()])
def test_a_rendering_of_the_collection_is_matched(case: Mapping[str, Any]) -> None:
    named_tokens = {name: case[name] for name in ("bos_token", "eos_token")}
    turns = case["messages"]
    if {turn["role"] for turn in turns} <= set(Role):
        template = ChatTemplate({"default": case["template"]}, named_tokens=named_tokens)
        text = template.render([message(turn) for turn in turns]).text
    else:  # roles of llama.cpp's own
        variables = {**named_tokens, "messages": turns, "tools": None, "add_generation_prompt": True}
        text = TemplateEngine(case["template"]).render(variables)
    assert text == (case["expected_jinja"] or case["expected_builtin"])
