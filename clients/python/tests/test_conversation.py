"""Conversations collect the messages of the next request."""

import pytest

from onward.v1.completion_pb2 import Choice
from onward_client import Completion, Conversation, RequestError, assistant, complete_request, system, tool_result, user
from onward_client.replies import to_reply
from onward_client.results import to_completion
from responses import choice, response, tool_call


def said(choice: Choice) -> Completion:
    return to_completion(to_reply(response(choice), "id"))


def test_completions_and_tool_results_are_appended_in_order() -> None:
    asked = tool_call("forecast", '{"city": "Rome"}')
    conversation = Conversation(system("Be brief."), "Weather?")

    conversation.append(said(choice(calls=[asked])), tool_result(asked, {"sky": "clear"}))
    conversation.append(said(choice("Clear.", reasoning="The sky is clear.")))
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


def test_a_conversation_can_be_sent_as_the_messages_of_a_request() -> None:
    conversation = Conversation("Hi", said(choice("Hello.")), "And?")

    assert complete_request(conversation) == complete_request(["Hi", assistant("Hello."), "And?"])


def test_a_completion_that_continues_a_prefix_is_joined_with_it() -> None:
    conversation = Conversation("A poem?", assistant("Roses", prefix=True))

    conversation.append(said(choice(" are red.")))

    assert list(conversation) == [user("A poem?"), assistant("Roses are red.")]


def test_a_completion_that_continues_reasoning_is_joined_with_it() -> None:
    conversation = Conversation("Why?", assistant(reasoning="Because", prefix=True))

    conversation.append(said(choice("So.", reasoning=" of it.", calls=[tool_call("f", "{}")])))

    assert conversation.messages[1] == assistant("So.", reasoning="Because of it.", tool_calls=[tool_call("f", "{}")])


def test_an_invalid_message_is_rejected_by_its_position() -> None:
    conversation = Conversation("Hi")

    with pytest.raises(RequestError, match=r"^messages\[1\]\.role: "):
        conversation.append({"role": "robot"})  # pyright: ignore[reportArgumentType] - that is what is tested
