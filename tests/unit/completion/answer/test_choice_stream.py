"""From sampled tokens to deltas: what is shown, held back and counted, and why a choice finishes."""

import pytest

from onward_server.completion.answer.choice_stream import ChoiceStream
from onward_server.completion.answer.detokenizer import Detokenizer
from onward_server.completion.answer.output_context import OutputContext
from onward_server.completion.answer.output_format import OutputFormat, ToolFormat
from onward_server.completion.answer.output_parser import OutputParser
from onward_server.completion.answer.tool_formats.hermes import HERMES
from onward_server.completion.answer.tool_formats.mistral import MISTRAL
from onward_server.domain import (
    ChoiceDelta,
    ChoiceFinished,
    EndOfSequence,
    FinishReason,
    FunctionTool,
    StopString,
    StopToken,
)
from onward_server.engine.generation import Finish, RawLogprobs, TokenSampled
from onward_server.model.tokenizer import Tokenizer
from onward_server.sampling import SamplingParams
from testing.tiny_model import write_tiny_tokenizer

EOS = 2


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = tmp_path_factory.mktemp("tokenizer")
    write_tiny_tokenizer(folder)
    return Tokenizer.load(folder)


def choice(
    tokenizer: Tokenizer, *, single_call: bool = False, tools: ToolFormat = HERMES, **sampling: object
) -> ChoiceStream:
    params = SamplingParams(**{"max_tokens": 100, "seed": 9, **sampling})  # type: ignore[arg-type]
    context = OutputContext(tools=(FunctionTool(name="f"),), single_call=single_call)
    visible = frozenset(params.stop_token_ids if params.include_stop else ())
    return ChoiceStream(
        index=0,
        seed=9,
        sampling=params,
        tokenizer=tokenizer,
        detokenizer=Detokenizer(tokenizer, at_text_start=False, visible=visible),
        parser=OutputParser(OutputFormat(tools=tools), context, make_call_id=lambda: "abcdefghi"),
    )


def sampled(token_id: int, finish: Finish | None = None, *, logprob: bool = False) -> TokenSampled:
    logprobs = RawLogprobs(-1.5, ((token_id, -1.5),)) if logprob else None
    return TokenSampled(request_id="a", index=0, token_id=token_id, finish=finish, logprobs=logprobs)


def run(
    stream: ChoiceStream, tokenizer: Tokenizer, text: str, end: TokenSampled | None = None, *, logprob: bool = False
) -> tuple[list[ChoiceDelta], ChoiceFinished | None]:
    """Feeds the tokens of a text, then the last event."""
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    events = [event for token_id in ids for event in stream.add(sampled(token_id, logprob=logprob))]
    events += stream.add(end) if end else []
    deltas = [event for event in events if isinstance(event, ChoiceDelta)]
    finished = [event for event in events if isinstance(event, ChoiceFinished)]
    assert len(finished) <= 1
    assert sum(delta.token_count for delta in deltas) == stream.num_tokens or not finished
    return deltas, finished[0] if finished else None


def shown(deltas: list[ChoiceDelta]) -> str:
    return "".join(delta.text for delta in deltas)


def test_an_end_of_sequence_is_counted_and_not_shown(tokenizer: Tokenizer) -> None:
    stream = choice(tokenizer)
    end = sampled(EOS, Finish(FinishReason.STOP, EndOfSequence(EOS)))
    deltas, finished = run(stream, tokenizer, "The tide", end)
    assert shown(deltas) == "The tide"
    assert finished is not None
    assert (finished.finish_reason, finished.stop_cause) == (FinishReason.STOP, EndOfSequence(EOS))
    assert finished.completion_tokens == len(tokenizer.encode("The tide", add_special_tokens=False).ids) + 1
    assert finished.seed == 9


@pytest.mark.parametrize(("include_stop", "text"), [(False, "The"), (True, "The tide")])
def test_a_stop_token_is_shown_only_with_include_stop(tokenizer: Tokenizer, include_stop: bool, text: str) -> None:  # noqa: FBT001
    ids = tokenizer.encode("The tide", add_special_tokens=False).ids
    stream = choice(tokenizer, stop_token_ids=(ids[-1],), include_stop=include_stop)
    before = tokenizer.decode(ids[:-1], keep_special_tokens=False)
    deltas, _ = run(stream, tokenizer, before, sampled(ids[-1], Finish(FinishReason.STOP, StopToken(ids[-1]))))
    assert shown(deltas) == (text if include_stop else before)


def test_a_stop_string_over_several_tokens_is_held_back_and_removed(tokenizer: Tokenizer) -> None:
    deltas, finished = run(choice(tokenizer, stop=("before the",)), tokenizer, "It came in before the boats did")
    assert shown(deltas) == "It came in "
    assert finished is not None
    assert finished.stop_cause == StopString("before the")


def test_a_stop_string_does_not_stop_before_min_tokens(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("The tide came The tide came", add_special_tokens=False).ids
    stream = choice(tokenizer, stop=("tide",), min_tokens=len(ids) // 2 + 1)
    deltas, finished = run(stream, tokenizer, "The tide came The tide came")
    assert shown(deltas) == "The tide came The "
    assert finished is not None


def test_text_that_only_began_a_stop_string_is_shown_at_the_end(tokenizer: Tokenizer) -> None:
    end = sampled(EOS, Finish(FinishReason.STOP, EndOfSequence(EOS)))
    deltas, _ = run(choice(tokenizer, stop=("tide went",)), tokenizer, "The tide", end)
    assert shown(deltas) == "The tide"


def test_half_a_character_is_held_back_and_replaced_only_at_the_end(tokenizer: Tokenizer) -> None:
    first_half = tokenizer.encode("é", add_special_tokens=False).ids[0]
    stream = choice(tokenizer)
    assert stream.add(sampled(first_half)) == []
    events = stream.add(sampled(first_half, Finish(FinishReason.LENGTH)))
    assert shown([event for event in events if isinstance(event, ChoiceDelta)]) == "\ufffd\ufffd"


def test_every_token_has_log_probabilities_even_if_its_text_is_held_back(tokenizer: Tokenizer) -> None:
    end = sampled(EOS, Finish(FinishReason.STOP, EndOfSequence(EOS)), logprob=True)
    deltas, finished = run(choice(tokenizer, stop=("tide went",)), tokenizer, "The tide", end, logprob=True)
    assert finished is not None
    assert sum(len(delta.logprobs) for delta in deltas) == finished.completion_tokens
    assert all(len(delta.logprobs) == delta.token_count for delta in deltas)


def test_text_that_was_held_back_is_shown_at_the_time_limit(tokenizer: Tokenizer) -> None:
    stream = choice(tokenizer, stop=("tide went",))
    deltas, _ = run(stream, tokenizer, "The tide")
    events = stream.expire()
    late = [event for event in events if isinstance(event, ChoiceDelta)]
    assert shown(deltas + late) == "The tide"
    assert isinstance(events[-1], ChoiceFinished)
    assert events[-1].finish_reason is FinishReason.TIME_LIMIT
    assert stream.expire() == []
    assert stream.add(sampled(5)) == []


CALL = '<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>'


def test_a_tool_call_finishes_the_choice_with_tool_calls(tokenizer: Tokenizer) -> None:
    end = sampled(EOS, Finish(FinishReason.STOP, EndOfSequence(EOS)))
    deltas, finished = run(choice(tokenizer), tokenizer, CALL, end)
    calls = [call for delta in deltas for call in delta.tool_calls]
    assert calls[0].name == "f"
    assert "".join(call.arguments for call in calls) == '{"a": 1}'
    assert finished is not None
    assert (finished.finish_reason, finished.stop_cause) == (FinishReason.TOOL_CALLS, None)


@pytest.mark.parametrize("min_tokens", [0, 100])
def test_a_single_tool_call_finishes_the_choice(tokenizer: Tokenizer, min_tokens: int) -> None:
    """Whatever `min_tokens` is: it only forbids tokens that end the choice, and no more text would be shown."""
    stream = choice(tokenizer, single_call=True, min_tokens=min_tokens)
    _, finished = run(stream, tokenizer, CALL + "\n" + CALL)
    assert stream.is_finished
    assert finished is not None
    assert finished.finish_reason is FinishReason.TOOL_CALLS


def test_a_malformed_tool_call_is_returned_as_raw_text(tokenizer: Tokenizer) -> None:
    end = sampled(EOS, Finish(FinishReason.STOP, EndOfSequence(EOS)))
    _, finished = run(choice(tokenizer), tokenizer, '<tool_call>\n{"name": "f", "arguments": {"a": }}', end)
    assert finished is not None
    assert finished.finish_reason is FinishReason.INVALID_TOOL_CALL
    assert '"arguments": {"a": }' in finished.invalid_tool_call


def test_a_malformed_tool_call_is_the_finish_reason_even_at_the_token_limit(tokenizer: Tokenizer) -> None:
    """The finish reason was LENGTH, as if more tokens could have completed the tool call."""
    end = sampled(5, Finish(FinishReason.LENGTH))
    text = '<tool_call>\n{"name": "f", "arguments": {"a": }}\n</tool_call>\nand on and on'
    _, finished = run(choice(tokenizer), tokenizer, text, end)
    assert finished is not None
    assert finished.finish_reason is FinishReason.INVALID_TOOL_CALL
    assert "and on and on" in finished.invalid_tool_call


def test_a_tool_call_truncated_by_the_token_limit_has_the_limit_as_finish_reason(tokenizer: Tokenizer) -> None:
    end = sampled(5, Finish(FinishReason.LENGTH))
    _, finished = run(choice(tokenizer), tokenizer, '<tool_call>\n{"name": "f", "arguments": {"a"', end)
    assert finished is not None
    assert finished.finish_reason is FinishReason.LENGTH
    assert finished.invalid_tool_call


@pytest.mark.parametrize(
    ("finish", "stop", "expected"),
    [
        (Finish(FinishReason.STOP, EndOfSequence(EOS)), (), (FinishReason.TOOL_CALLS, "")),
        (Finish(FinishReason.LENGTH, None), (), (FinishReason.LENGTH, "[TOOL_CALLS]f[ARGS]")),
        (None, ("!",), (FinishReason.INVALID_TOOL_CALL, "[TOOL_CALLS]f[ARGS]")),
    ],
    ids=["by the model", "by a limit", "by a stop string"],
)
def test_arguments_are_missing_only_if_the_model_itself_ended_the_output(
    tokenizer: Tokenizer, finish: Finish | None, stop: tuple[str, ...], expected: tuple[FinishReason, str]
) -> None:
    """A limit may have cut the arguments off, so the call is not one without arguments."""
    stream = choice(tokenizer, tools=MISTRAL, stop=stop)
    end = None if finish is None else sampled(EOS, finish)

    _, finished = run(stream, tokenizer, "[TOOL_CALLS]f[ARGS]" + "".join(stop), end)

    assert finished is not None
    assert (finished.finish_reason, finished.invalid_tool_call) == expected
