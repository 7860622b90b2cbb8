"""Turns that add up to what the next request sends."""

import pytest

from onward.v1.completion_pb2 import Choice
from onward_client import Completion, Conversation, RequestError, assistant, complete_request, system, tool_result, user
from onward_client.results import to_completion, to_reply
from responses import answer, call, response


def said(choice: Choice) -> Completion:
    return to_completion(to_reply(response(choice), "id"))


def test_answers_and_results_are_appended_in_order() -> None:
    asked = call("forecast", '{"city": "Rome"}')
    conversation = Conversation(system("Be brief."), "Weather?")

    conversation.append(said(answer(calls=[asked])), tool_result(asked, {"sky": "clear"}))
    conversation.append(said(answer("Clear.", reasoning="The sky is clear.")))
    conversation.append({"role": "user", "content": "Thanks."})

    assert list(conversation) == [
        system("Be brief."),
        user("Weather?"),
        assistant(tool_calls=[asked]),
        tool_result(asked, '{"sky": "clear"}'),
        assistant("Clear.", reasoning="The sky is clear."),
        user("Thanks."),
    ]
    assert len(conversation) == 6


def test_it_is_what_a_request_takes() -> None:
    conversation = Conversation("Hi", said(answer("Hello.")), "And?")

    assert complete_request(conversation) == complete_request(["Hi", assistant("Hello."), "And?"])


def test_an_answer_that_continues_a_prefix_is_one_message_with_it() -> None:
    conversation = Conversation("A poem?", assistant("Roses", prefix=True))

    conversation.append(said(answer(" are red.")))

    assert list(conversation) == [user("A poem?"), assistant("Roses are red.")]


def test_an_answer_that_continues_reasoning_is_one_message_with_it() -> None:
    conversation = Conversation("Why?", assistant(reasoning="Because", prefix=True))

    conversation.append(said(answer("So.", reasoning=" of it.", calls=[call("f", "{}")])))

    assert conversation.messages[1] == assistant("So.", reasoning="Because of it.", tool_calls=[call("f", "{}")])


def test_a_message_that_does_not_fit_is_refused_by_its_place() -> None:
    conversation = Conversation("Hi")

    with pytest.raises(RequestError, match=r"^messages\[1\]\.role: "):
        conversation.append({"role": "robot"})  # pyright: ignore[reportArgumentType] - that is what is tested
