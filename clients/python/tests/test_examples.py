"""The examples run against a fake server. The integration tests run them with a model."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from fake_server import FakeServer
from onward.v1.chat_pb2 import Role
from onward.v1.completion_pb2 import CompleteRequest
from responses import choice, events, response, text_response, tool_call

EXAMPLES = Path(__file__).parents[1] / "examples"


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def roles(server: FakeServer, index: int) -> list[int]:
    request = server.seen[index].request
    assert isinstance(request, CompleteRequest)
    return [message.role for message in request.messages]


def test_the_tool_loop_sends_the_tool_result(server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    server.script.append(response(choice(calls=[tool_call("get_weather", '{"city": "Rome"}')])))
    server.script.append(text_response("The weather in Rome is sunny."))

    assert example("tool_loop").main(server.target) == "The weather in Rome is sunny."

    assert roles(server, 1) == [Role.ROLE_USER, Role.ROLE_ASSISTANT, Role.ROLE_TOOL]
    assert capsys.readouterr().out == 'get_weather {"city": "Rome"}\nThe weather in Rome is sunny.\n'


def test_extraction_returns_an_object(server: FakeServer) -> None:
    server.script.append(text_response('{"name": "Anna", "age": 30, "city": "Rome"}'))

    person = example("extract").main(server.target)

    assert (person.name, person.age, person.city) == ("Anna", 30, "Rome")


def test_memory_sends_every_turn(server: FakeServer) -> None:
    server.script.extend(text_response(text) for text in ("Hello, Anna.", "Nice.", "Your name is Anna."))

    assert example("memory").main(server.target) == "Your name is Anna."

    assert roles(server, 2) == [Role.ROLE_USER, Role.ROLE_ASSISTANT] * 2 + [Role.ROLE_USER]


def test_the_story_is_printed_as_it_arrives(server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    server.script.append([*events(text_response("Once upon a time."))])

    assert example("story").main(server.target) == "Once upon a time."

    assert capsys.readouterr().out == "Once upon a time.\n(17 tokens, stop)\n"
