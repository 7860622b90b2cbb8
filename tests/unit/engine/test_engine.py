"""The decoding loop on a fake model: what runs when, what ends a sequence, and that slots always come back."""

import pytest

from onward_server.domain import EndOfSequence, FinishReason, StopToken
from onward_server.engine.engine import Engine
from onward_server.engine.generation import (
    EngineEvent,
    Finish,
    GenerationRequest,
    PrefillStarted,
    RequestFailed,
    SequenceExpired,
    SequenceFailed,
    TokenSampled,
)
from onward_server.engine.scheduler import Scheduler
from onward_server.engine.sequence import Sequence
from onward_server.errors import EngineFailed
from onward_server.model.causal_lm import Logits, TokenIds
from onward_server.sampling import SamplingParams
from tests.fakes import FakeCausalLM

ALL = 10_000


def request(
    request_id: str = "a",
    prompt_ids: list[int] | None = None,
    *,
    num_choices: int = 1,
    eos_token_ids: frozenset[int] = frozenset(),
    length_reason: FinishReason = FinishReason.LENGTH,
    **sampling: object,
) -> GenerationRequest:
    return GenerationRequest(
        id=request_id,
        prompt_ids=prompt_ids or [10, 11, 12],
        sampling=SamplingParams(**{"temperature": 0.0, "max_tokens": 4, "seed": 0, **sampling}),  # type: ignore[arg-type]
        seeds=tuple(range(num_choices)),
        eos_token_ids=eos_token_ids,
        length_reason=length_reason,
    )


def run(engine: Engine, *requests: GenerationRequest, budget: int = ALL) -> list[EngineEvent]:
    """Runs the engine until it has no work, and checks that every slot came back."""
    for item in requests:
        engine.add(item)
    events: list[EngineEvent] = []
    for _ in range(1000):
        if not engine.has_work:
            break
        events += engine.step(budget).events
    engine.check_integrity()
    assert not engine.has_work
    return events


def tokens(events: list[EngineEvent], request_id: str = "a", index: int = 0) -> list[int]:
    return [
        event.token_id
        for event in events
        if isinstance(event, TokenSampled) and event.request_id == request_id and event.index == index
    ]


def finishes(events: list[EngineEvent]) -> list[Finish]:
    return [event.finish for event in events if isinstance(event, TokenSampled) and event.finish]


def failed(events: list[EngineEvent]) -> set[str]:
    return {event.request_id for event in events if isinstance(event, RequestFailed | SequenceFailed)}


def test_greedy_tokens_follow_the_model_up_to_max_tokens() -> None:
    events = run(Engine(FakeCausalLM()), request())
    assert tokens(events) == [13, 14, 15, 16]
    assert finishes(events) == [Finish(FinishReason.LENGTH)]


def test_a_limit_that_the_context_set_has_its_own_finish_reason() -> None:
    events = run(Engine(FakeCausalLM()), request(length_reason=FinishReason.CONTEXT_LENGTH))
    assert finishes(events) == [Finish(FinishReason.CONTEXT_LENGTH)]


def test_an_end_of_sequence_token_ends_the_choice_and_is_its_last_token() -> None:
    events = run(Engine(FakeCausalLM()), request(eos_token_ids=frozenset({14})))
    assert tokens(events) == [13, 14]
    assert finishes(events) == [Finish(FinishReason.STOP, EndOfSequence(14))]


def test_a_stop_token_ends_the_choice_and_is_its_cause() -> None:
    events = run(Engine(FakeCausalLM()), request(stop_token_ids=(15,)))
    assert finishes(events) == [Finish(FinishReason.STOP, StopToken(15))]


def test_ignore_eos_ignores_end_of_sequence_tokens_but_not_stop_tokens() -> None:
    events = run(Engine(FakeCausalLM()), request(eos_token_ids=frozenset({14}), ignore_eos=True, stop_token_ids=(15,)))
    assert tokens(events) == [13, 14, 15]


def test_tokens_that_end_a_choice_are_not_sampled_before_min_tokens() -> None:
    engine = Engine(FakeCausalLM(lambda _: 14))
    events = run(engine, request(eos_token_ids=frozenset({14}), min_tokens=2, max_tokens=5))
    assert len(tokens(events)) == 3
    assert tokens(events).index(14) == 2


def test_padding_of_the_logits_is_never_sampled() -> None:
    events = run(Engine(FakeCausalLM(lambda _: 99), num_sampleable=50), request(temperature=1.0, max_tokens=20))
    assert max(tokens(events)) < 50


def test_running_sequences_decode_together_in_one_run() -> None:
    model = FakeCausalLM()
    run(Engine(model), request("a"), request("b", [20, 21]), request("c", [30]))
    assert [size for kind, size in model.runs if kind == "decode"] == [3, 3, 3]


def test_a_request_joins_while_another_decodes() -> None:
    engine = Engine(FakeCausalLM())
    engine.add(request("a", max_tokens=10))
    engine.step(ALL)
    engine.step(ALL)
    events = run(engine, request("b", [40, 41], max_tokens=2))
    assert tokens(events, "b") == [42, 43]


@pytest.mark.parametrize("budget", [1, 2, 3, 4, 7, 16, 17, 1000])
@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 17, 18, 33, 50])
def test_a_prompt_is_prefilled_in_chunks_that_never_leave_one_token(budget: int, length: int) -> None:
    model = FakeCausalLM()
    events = run(Engine(model), request("a", list(range(1, length + 1)), max_tokens=1), budget=budget)
    chunks = [size for kind, size in model.runs if kind == "prefill"]
    assert sum(chunks) == length
    assert min(chunks) >= 2 or chunks == [1]
    assert max(chunks) <= max(budget, 3)
    assert tokens(events) == [length + 1]


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (1, [1]),
        (2, [2]),
        (16, [16]),
        (17, [15, 2]),
        (18, [16, 2]),
        (32, [16, 16]),
        (33, [16, 15, 2]),
        (50, [16] * 3 + [2]),
    ],
)
def test_a_fixed_chunk_cuts_each_prompt_at_the_same_positions_whatever_else_runs(
    length: int, expected: list[int]
) -> None:
    for budget in (1, 2, 7, 15, 16, 31, 48, ALL):
        alone = FakeCausalLM(fixed_chunk=16)
        run(Engine(alone), request("a", list(range(length)), max_tokens=1), budget=budget)
        assert [size for _, size in alone.runs] == expected
        assert prefilled_beside_others(length, budget) == expected


def prefilled_beside_others(length: int, budget: int) -> list[int]:
    """Chunks of the prompt of three choices, while a request decodes, another is prefilled and a third is aborted."""
    model = FakeCausalLM(num_slots=6, fixed_chunk=16)
    engine = Engine(model)
    engine.add(request("decoding", max_tokens=40))
    engine.step(ALL)
    engine.add(request("aborted", list(range(40))))
    engine.step(budget)
    engine.abort("aborted")
    sizes: list[int] = []
    prefill = model.prefill

    def record(slot: int, token_ids: TokenIds, *, total_length: int = 0) -> Logits:
        if token_ids[0] >= 50:
            sizes.append(len(token_ids))
        return prefill(slot, token_ids, total_length=total_length)

    model.prefill = record
    wanted = request("wanted", list(range(50, 50 + length)), num_choices=3)
    run(engine, wanted, request("other", list(range(30))), budget=budget)
    return sizes


def test_decoding_continues_while_a_long_prompt_is_prefilled() -> None:
    engine = Engine(FakeCausalLM())
    engine.add(request("a", max_tokens=20))
    engine.step(ALL)
    engine.add(request("b", list(range(1, 41)), max_tokens=1))
    during = [engine.step(16).events for _ in range(3)]
    assert [len(tokens(events, "a")) for events in during] == [1, 1, 1]
    assert [len(tokens(events, "b")) for events in during] == [0, 0, 1]


def test_the_smaller_budget_applies_only_while_sequences_decode() -> None:
    engine = Engine(FakeCausalLM())
    engine.add(request("a", list(range(1, 41)), max_tokens=20))
    engine.add(request("b", list(range(1, 51)), max_tokens=20))
    steps = [engine.step(48, budget_beside_decoding=16) for _ in range(5)]
    assert [step.num_decoded for step in steps] == [0, 1, 1, 1, 2]
    assert [step.num_prefilled for step in steps] == [48, 16, 16, 10, 0]


def test_short_prompts_overtake_a_long_one_only_for_a_while() -> None:
    engine = Engine(FakeCausalLM(num_slots=40))
    engine.add(request("long", list(range(1, 33)), max_tokens=1))
    order: list[str] = []
    for number in range(30):
        engine.add(request(f"short{number}", [1, 2, 3, 4], max_tokens=1))
        order += [event.request_id for event in engine.step(4).events if isinstance(event, TokenSampled)]
    assert order[0] == "short0"
    started = [event for event in run(engine) if isinstance(event, PrefillStarted)]
    assert "long" not in {event.request_id for event in started}


def test_requests_wait_for_slots_in_order_of_arrival() -> None:
    engine = Engine(FakeCausalLM(num_slots=2))
    events = run(engine, *(request(name, max_tokens=2) for name in "abcd"))
    assert [event.request_id for event in events if isinstance(event, PrefillStarted)] == list("abcd")


def test_choices_share_one_prefill() -> None:
    model = FakeCausalLM()
    events = run(Engine(model), request(num_choices=3))
    assert [size for kind, size in model.runs if kind == "prefill"] == [3]
    assert [tokens(events, index=index) for index in range(3)] == [[13, 14, 15, 16]] * 3


def test_a_request_for_several_choices_waits_until_all_fit() -> None:
    engine = Engine(FakeCausalLM(num_slots=3))
    engine.add(request("a", max_tokens=3))
    engine.add(request("b", num_choices=3, max_tokens=2))
    first = engine.step(ALL).events
    assert not tokens(first, "b")
    assert len(tokens(run(engine), "b", 2)) == 2


@pytest.mark.parametrize("steps_before", [0, 1, 2])
def test_an_aborted_request_frees_its_slots_at_once(steps_before: int) -> None:
    engine = Engine(FakeCausalLM())
    engine.add(request("a", num_choices=2, max_tokens=30))
    for _ in range(steps_before):
        engine.step(2)
    engine.abort("a")
    engine.abort("a")
    assert engine.num_free_slots == 4
    assert not engine.has_work


def test_one_choice_can_be_stopped_while_the_others_go_on() -> None:
    engine = Engine(FakeCausalLM())
    engine.add(request(num_choices=2))
    engine.step(ALL)
    engine.abort("a", 0)
    engine.abort("a", 0)
    events = run(engine)
    assert (len(tokens(events, index=0)), len(tokens(events, index=1))) == (0, 3)


def test_aborting_a_choice_of_a_request_that_waits_changes_nothing() -> None:
    engine = Engine(FakeCausalLM(num_slots=1))
    engine.add(request("a", num_choices=1, max_tokens=2))
    engine.abort("a", 0)
    assert len(tokens(run(engine))) == 2


def test_a_sequence_without_a_slot_cannot_finish() -> None:
    sequence = Sequence(request=request(), index=0)
    with pytest.raises(AssertionError, match="choice 0 of a has no slot"):
        Scheduler(1).finish(sequence)


@pytest.mark.parametrize("steps_before", [0, 1])
def test_a_time_limit_ends_every_unfinished_choice_once(steps_before: int) -> None:
    engine = Engine(FakeCausalLM())
    engine.add(request(num_choices=2, max_tokens=30))
    for _ in range(steps_before):
        engine.step(ALL)
    expired = [SequenceExpired(request_id="a", index=index) for index in range(2)]
    assert engine.expire("a") == expired
    assert engine.expire("a") == []
    assert engine.num_free_slots == 4


def test_a_failed_run_ends_its_own_requests_only() -> None:
    model = FakeCausalLM()
    engine = Engine(model)
    engine.add(request("a"))
    engine.step(ALL)
    model.fail_next = 1
    engine.add(request("b", [20, 21]))
    events = engine.step(ALL).events
    assert failed(events) == {"a"}
    assert tokens([*events, *run(engine)], "b") == [22, 23, 24, 25]


def test_logits_that_are_not_finite_end_their_own_request_only() -> None:
    engine = Engine(FakeCausalLM(lambda ids: -1 if ids[0] == 66 else ids[-1] + 1))
    for _ in range(5):
        events = run(engine, request("bad", [66]), request("good"))
        assert failed(events) == {"bad"}
        assert tokens(events, "good") == [13, 14, 15, 16]


def test_three_failed_runs_in_a_row_end_the_engine() -> None:
    model = FakeCausalLM()
    model.fail_next = 3
    engine = Engine(model)
    for name in "abc":
        engine.add(request(name))
    with pytest.raises(EngineFailed):
        engine.step(ALL)


def test_a_choice_whose_logits_are_not_finite_does_not_affect_the_other_choices() -> None:
    num_rows = 0

    def script(token_ids: list[int]) -> int:
        nonlocal num_rows
        num_rows += 1
        return -1 if num_rows == 3 else token_ids[-1] + 1

    events = run(Engine(FakeCausalLM(script)), request(num_choices=2))
    assert [event.index for event in events if isinstance(event, SequenceFailed)] == [1]
    assert tokens(events, index=0) == [13, 14, 15, 16]
