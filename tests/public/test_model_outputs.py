"""Outputs that llama.cpp's tests record are parsed as those tests expect."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2.sandbox import ImmutableSandboxedEnvironment

from onward_server.completion.answer.output_context import OutputContext
from onward_server.completion.answer.parsing.parser_state import MessagePart
from onward_server.domain import JsonObjectFormat
from testing.parsed_outputs import tool
from tests.output_cases import (
    SPLITS,
    Meaning,
    OutputCase,
    assert_every_beginning_is_a_beginning,
    meaning_of,
    split_at,
)
from tests.template_cases import template_formats

_CONTINUATIONS = {
    None: None,
    "COMMON_CHAT_CONTINUATION_CONTENT": MessagePart.CONTENT,
    "COMMON_CHAT_CONTINUATION_REASONING": MessagePart.REASONING,
}


def read_cases(data: Path) -> list[OutputCase]:
    document = json.loads((data / "tool-calls/parse-cases.json").read_text(encoding="utf-8"))
    return [read_case(data, number, document["tools"], raw) for number, raw in enumerate(document["cases"])]


def read_case(data: Path, number: int, tools: Any, raw: Any) -> OutputCase:  # noqa: ANN401 (JSON)
    """One case; where it continues a message, what is expected there has the message before it."""
    source = (data / "templates" / raw["template"]).read_text(encoding="utf-8")
    continues = _CONTINUATIONS[raw.get("continue_final_message")]
    message = raw["messages"][-1] if continues else {"content": "", "reasoning_content": ""}
    expected = raw.get("expect", {})
    text = raw.get("expect_content", expected.get("content", ""))
    reasoning = raw.get("expect_reasoning", expected.get("reasoning_content", message["reasoning_content"]))
    calls = raw.get("expect_tool_calls", expected.get("tool_calls", []))
    functions = [tools[name]["function"] for name in raw.get("tools", ())]
    assert text.startswith(message["content"])
    assert reasoning.startswith(message["reasoning_content"])
    return OutputCase(
        name=f"{number}-{raw['template'].removesuffix('.jinja')}",
        output=raw["output"],
        output_format=template_formats(source),
        context=OutputContext(
            tools=tuple(tool(function["name"], json.dumps(function["parameters"])) for function in functions),
            prompt="" if continues else _prompt(source, thinking=raw.get("enable_thinking", True)),
            continues=continues,
            response_format=JsonObjectFormat() if "json_schema" in raw else None,
        ),
        expected=Meaning(
            text=text.removeprefix(message["content"]),
            reasoning=reasoning.removeprefix(message["reasoning_content"]),
            calls=[(call["name"], json.loads(call["arguments"])) for call in calls],
        ),
    )


def _prompt(source: str, *, thinking: bool) -> str:
    """The prompt of one question, without tools where even a template for tools alone takes that."""
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(source).render(
        messages=[{"role": "user", "content": "Hello"}],
        add_generation_prompt=True,
        enable_thinking=thinking,
        strftime_now="today {}".format,
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" in metafunc.fixturenames:
        cases = read_cases(Path(str(metafunc.config.getoption("data"))))
        metafunc.parametrize("case", cases, ids=lambda case: case.name)


@pytest.fixture(scope="session")
def cases(data: Path) -> list[OutputCase]:
    return read_cases(data)


def test_all_recorded_cases_are_there(cases: list[OutputCase]) -> None:
    assert len(cases) == 64


@pytest.mark.parametrize("split", SPLITS)
def test_a_recorded_output_is_parsed_as_its_file_says(case: OutputCase, split: str) -> None:
    output = case.parse(SPLITS[split](case.output))

    assert meaning_of(output) == case.expected
    # The one message to a recipient that is not offered: the Python of gpt-oss.
    assert bool(output.invalid_tool_call) == ("to=python" in case.output)


@settings(max_examples=400)
@given(drawn=st.data())
def test_a_recorded_output_means_the_same_in_any_pieces(cases: list[OutputCase], drawn: st.DataObject) -> None:
    case = drawn.draw(st.sampled_from(cases))
    ends = drawn.draw(st.sets(st.integers(1, max(1, len(case.output) - 1)), max_size=20))

    assert case.parse(split_at(case.output, ends)) == case.parse([case.output])


def test_a_recorded_output_that_is_truncated_anywhere_keeps_its_earlier_deltas(case: OutputCase) -> None:
    assert_every_beginning_is_a_beginning(case)
