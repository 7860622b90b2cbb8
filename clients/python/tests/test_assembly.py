"""Events assemble to the response that a unary call returns."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from onward.v1.completion_pb2 import CompleteResponse, StreamCompleteResponse
from onward.v1.usage_pb2 import FinishReason
from onward_client.assembly import Assembly
from responses import choice, events, logprob, response, text_response, tool_call

TEXT = st.text(max_size=20)
NAME = st.text(min_size=1, max_size=5)
CALLS = st.lists(st.builds(tool_call, NAME, TEXT, id=NAME), max_size=3)


@st.composite
def responses(draw: st.DrawFn) -> CompleteResponse:
    choices = [
        choice(
            draw(TEXT),
            index=index,
            reasoning=draw(TEXT),
            calls=draw(CALLS),
            finish=draw(st.sampled_from(FinishReason.values())),
        )
        for index in range(draw(st.integers(1, 3)))
    ]
    for each in choices:
        each.logprobs.extend(logprob(token) for token in draw(st.lists(TEXT, max_size=3)))
    return response(*choices)


def assembled(sent: list[StreamCompleteResponse]) -> CompleteResponse:
    assembly = Assembly()
    for event in sent:
        assembly.add(event)
    return assembly.response()


def interleaved(sent: list[StreamCompleteResponse], random: Random) -> list[StreamCompleteResponse]:
    """The same events with the choices interleaved; the events of each choice keep their order."""
    start, *middle, end = sent
    queues: dict[int, list[StreamCompleteResponse]] = {}
    for event in middle:
        index = event.delta.index if event.HasField("delta") else event.finish.index
        queues.setdefault(index, []).append(event)
    turns = [index for index, queue in queues.items() for _ in queue]
    random.shuffle(turns)
    return [start, *(queues[index].pop(0) for index in turns), end]


@given(responses(), st.integers(1, 5), st.randoms(use_true_random=False))
def test_the_events_of_a_response_assemble_to_it(whole: CompleteResponse, piece: int, random: Random) -> None:
    assert assembled(interleaved(events(whole, piece), random)) == whole


def test_the_deltas_of_a_malformed_tool_call_are_dropped() -> None:
    good, broken = tool_call("good", "{}"), tool_call("broken", '{"a": ', id="123456789")
    sent = choice(calls=[good, broken], finish=FinishReason.FINISH_REASON_INVALID_TOOL_CALL, invalid_tool_call="<raw>")
    kept = choice(calls=[good], finish=FinishReason.FINISH_REASON_INVALID_TOOL_CALL, invalid_tool_call="<raw>")

    assert assembled(events(response(sent))) == response(kept)


def test_a_partial_stream_gives_a_partial_response() -> None:
    assembly = Assembly()
    for event in events(text_response("Hello."))[:2]:
        assembly.add(event)

    so_far = assembly.response()

    assert not assembly.is_complete
    assert (so_far.model, so_far.usage.prompt_tokens) == ("pocket", 5)
    assert [part.text for part in so_far.choices[0].message.content] == ["Hel"]
    assert so_far.choices[0].completion_tokens == 1


def test_a_partial_response_is_a_copy() -> None:
    assembly = Assembly()
    first = assembly.response()
    for event in events(text_response()):
        assembly.add(event)

    assert first == CompleteResponse()
    assert assembly.is_complete


def test_an_unknown_event_of_a_newer_server_is_ignored() -> None:
    start, *rest = events(text_response())

    assert assembled([start, StreamCompleteResponse(), *rest]) == text_response()
