"""Streamed completions. Every test runs for `CompletionStream` and for `AsyncCompletionStream`."""

import grpc
import pytest

from fake_server import WAIT_S, Failure, FakeServer, Hang
from onward.v1.completion_pb2 import StreamCompleteRequest
from onward_client import CancelledError, Client, OutputError, RequestError, UnavailableError, complete_request
from responses import choice, events, response, text_response, tool_call


def test_text_arrives_in_pieces(client: Client, server: FakeServer) -> None:
    server.script.append([*events(text_response("Hello, world."), piece=5)])

    with client.stream("Hi", temperature=0.5) as stream:
        assert list(stream.text) == ["Hello", ", wor", "ld."]

    assert server.seen[0].request == StreamCompleteRequest(request=complete_request("Hi", temperature=0.5))


def test_text_is_that_of_the_first_choice(client: Client, server: FakeServer) -> None:
    server.script.append([*events(response(choice("one", reasoning="hm"), choice("two", index=1)))])

    with client.stream("Hi", n=2) as stream:
        assert list(stream.text) == ["one"]
        assert [each.text for each in stream.snapshot.choices] == ["one", "two"]


def test_events_are_the_generated_messages(client: Client, server: FakeServer) -> None:
    sent = events(text_response("Hello."))
    server.script.append([*sent])

    with client.stream("Hi") as stream:
        assert list(stream) == sent


def test_final_returns_what_complete_returns(client: Client, server: FakeServer) -> None:
    whole = response(choice("Hello.", reasoning="A greeting."), choice(index=1, calls=[tool_call("f", '{"a": 1}')]))
    server.script.append(whole)
    server.script.append([*events(whole)])

    completion = client.complete("Hi")
    with client.stream("Hi") as stream:
        final = stream.final()

    assert final.proto == completion.proto
    assert final.request_id == completion.request_id
    assert final.metadata["x-request-id"] == "server-id"


def test_final_waits_for_the_unread_events(client: Client, server: FakeServer) -> None:
    server.script.append([*events(text_response("Hello, world."), piece=5)])

    with client.stream("Hi") as stream:
        assert next(iter(stream.text)) == "Hello"
        assert stream.snapshot.text == "Hello"
        assert stream.final().text == "Hello, world."


def test_final_can_be_called_after_the_block(client: Client, server: FakeServer) -> None:
    server.script.append([*events(text_response("Hello."))])

    with client.stream("Hi") as stream:
        for _ in stream.text:
            pass

    assert stream.final().text == "Hello."


def test_leaving_the_block_cancels_the_call(client: Client, server: FakeServer) -> None:
    server.script.append([*events(text_response("Hello."))[:2], Hang()])

    with client.stream("Hi") as stream:
        assert next(iter(stream.text)) == "Hel"

    assert server.seen[0].ended.wait(WAIT_S)
    assert stream.snapshot.text == "Hel"


def test_final_of_an_abandoned_stream_is_an_error_with_the_partial_completion(
    client: Client, server: FakeServer
) -> None:
    server.script.append([*events(text_response("Hello."))[:2], Hang()])

    with client.stream("Hi") as stream:
        next(iter(stream.text))

    with pytest.raises(OutputError) as raised:
        stream.final()
    assert raised.value.response.text == "Hel"


def test_a_stream_that_ends_without_its_last_event_is_an_error(client: Client, server: FakeServer) -> None:
    server.script.append([*events(text_response("Hello."))[:-1]])

    with client.stream("Hi") as stream, pytest.raises(OutputError, match="before its last event") as raised:
        stream.final()

    assert raised.value.response.text == "Hello."


def test_a_stream_can_only_be_read_inside_its_block(client: Client, server: FakeServer) -> None:
    server.script.append([*events(text_response("Hello."))])
    stream = client.stream("Hi")

    with pytest.raises(RequestError, match="inside its"):
        next(iter(stream))
    assert not server.seen


def test_a_stream_that_is_entered_again_makes_a_new_call(client: Client, server: FakeServer) -> None:
    """The text of the second call was appended to that of the first."""
    server.script.append([*events(text_response("Hello."))[:2], Failure(code=grpc.StatusCode.UNAVAILABLE)])
    server.script.append([*events(text_response("Hello."))])
    stream = client.stream("Hi")

    with pytest.raises(UnavailableError), stream:
        stream.final()
    with stream:
        assert stream.snapshot.text == ""
        assert "".join(stream.text) == "Hello."

    assert stream.final().text == "Hello."
    first, second = (seen.metadata["x-request-id"] for seen in server.seen)
    assert first != second


def test_a_stream_cannot_be_entered_twice_at_once(client: Client, server: FakeServer) -> None:
    server.script.append([*events(text_response("Hello."))])

    with client.stream("Hi") as stream:
        with pytest.raises(RequestError, match="block already; call `stream` again"), stream:
            pass
        assert stream.final().text == "Hello."


def test_closing_the_client_cancels_its_streams(client: Client, server: FakeServer) -> None:
    server.script.append([*events(text_response("Hello."))[:2], Hang()])

    with client.stream("Hi") as stream:
        next(iter(stream.text))
        client.close()
        with pytest.raises(CancelledError):
            stream.final()

    assert server.seen[0].ended.wait(WAIT_S)
