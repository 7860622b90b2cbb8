"""A sequence that decodes past the model's switch length is computed again, and nothing else changes."""

from collections.abc import Sequence

import numpy as np
import pytest

from onward_server.domain import RegexFormat
from onward_server.engine.engine import Engine
from onward_server.engine.generation import (
    EngineEvent,
    GenerationRequest,
    PrefillStarted,
    RequestAdmitted,
    RequestFailed,
    SequenceExpired,
    TokenSampled,
)
from onward_server.grammar.compiler import Grammar, GrammarCompiler
from onward_server.model.tokenizer import Tokenizer
from onward_server.sampling import SamplingParams
from testing.tiny_model import write_tiny_tokenizer
from tests.fakes import FakeCausalLM

SWITCH = 20
VOCABULARY_SIZE = 512
LENGTHS = [1, 3, SWITCH - 1, SWITCH, SWITCH + 1, SWITCH + 5]
BUDGETS = [1, 2, 3, 5, 7, 16, 17, SWITCH + 1, 1000]


def noise(token_ids: list[int]) -> int:
    """The most likely next token depends on all tokens so far."""
    return int(np.random.default_rng(token_ids).integers(3, VOCABULARY_SIZE))


def model(*, switch_length: int | None = SWITCH, num_slots: int = 6, fixed_chunk: int | None = None) -> FakeCausalLM:
    """`FakeCausalLM` fails if a slot of the switch length is decoded, or a chunk has another length of its prompt."""
    return FakeCausalLM(
        noise,
        num_slots=num_slots,
        vocabulary_size=VOCABULARY_SIZE,
        switch_length=switch_length,
        fixed_chunk=fixed_chunk,
    )


def request(
    request_id: str, length: int, *, num_choices: int = 1, max_tokens: int = 30, grammar: Grammar | None = None
) -> GenerationRequest:
    generator = np.random.default_rng([length, len(request_id)])
    return GenerationRequest(
        id=request_id,
        prompt_ids=generator.integers(3, VOCABULARY_SIZE, length).tolist(),
        sampling=SamplingParams(temperature=3.0, max_tokens=max_tokens, seed=5, frequency_penalty=0.5),
        seeds=tuple(range(num_choices)),
        top_logprobs=2,
        grammar=grammar,
    )


def run(engine: Engine, requests: Sequence[GenerationRequest], *, budget: int = 1000) -> list[EngineEvent]:
    for item in requests:
        engine.add(item)
    events: list[EngineEvent] = []
    for _ in range(1000):
        if not engine.has_work:
            break
        events += engine.step(budget).events
    engine.check_integrity()
    assert not engine.has_work
    assert engine.num_free_slots == engine.num_slots
    return events


def of(events: list[EngineEvent], request_id: str, index: int = 0) -> list[EngineEvent]:
    return [event for event in events if event.request_id == request_id and getattr(event, "index", index) == index]


def switching(*, num_choices: int = 1, budget: int = 4) -> tuple[FakeCausalLM, Engine]:
    """An engine whose request `a` is half computed again in the slot of its first choice."""
    causal_lm = model()
    engine = Engine(causal_lm)
    engine.add(request("a", SWITCH - 2, num_choices=num_choices))
    engine.step(1000)
    while not is_computed_again(causal_lm):
        assert engine.has_work
        engine.step(budget)
    return causal_lm, engine


def is_computed_again(causal_lm: FakeCausalLM) -> bool:
    return 0 < len(causal_lm.slots[0]) < SWITCH - 2


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("length", LENGTHS)
def test_the_events_of_a_request_are_those_of_a_model_without_a_switch(length: int, budget: int) -> None:
    expected = run(Engine(model(switch_length=None)), [request("a", length)])
    assert len([event for event in expected if isinstance(event, TokenSampled)]) == 30
    assert run(Engine(model()), [request("a", length)], budget=budget) == expected


@pytest.mark.parametrize("fixed_chunk", [None, 6])
@pytest.mark.parametrize("budget", BUDGETS)
def test_the_events_are_the_same_in_a_crowd_that_switches_at_the_same_time(
    budget: int, fixed_chunk: int | None
) -> None:
    requests = [
        request("a", SWITCH - 3, num_choices=2),
        request("bb", SWITCH - 2, num_choices=2),
        request("ccc", SWITCH + 3),
        request("dddd", 5),
    ]
    together = run(Engine(model(fixed_chunk=fixed_chunk)), requests, budget=budget)
    for item in requests:
        alone = run(Engine(model(switch_length=None)), [item])
        for index in range(len(item.seeds)):
            assert of(together, item.id, index) == of(alone, item.id, index)


@pytest.mark.parametrize(
    ("length", "prefilled", "num_decoded"),
    [(SWITCH - 2, [SWITCH - 2, SWITCH + 1], 2), (SWITCH, [SWITCH, SWITCH + 1], 0), (SWITCH + 1, [SWITCH + 1], 0)],
)
def test_all_tokens_are_prefilled_once_when_the_switch_length_is_exceeded(
    length: int, prefilled: list[int], num_decoded: int
) -> None:
    causal_lm = model()
    run(Engine(causal_lm), [request("a", length, max_tokens=SWITCH + 2 - length)])
    assert [size for kind, size in causal_lm.runs if kind == "prefill"] == prefilled
    assert len([size for kind, size in causal_lm.runs if kind == "decode"]) == num_decoded


def test_a_sequence_that_ends_at_the_switch_length_is_not_computed_again() -> None:
    causal_lm = model()
    run(Engine(causal_lm), [request("a", SWITCH - 2, max_tokens=3)])
    assert [size for kind, size in causal_lm.runs if kind == "prefill"] == [SWITCH - 2]


def test_each_choice_is_computed_again_with_its_own_tokens() -> None:
    causal_lm = model()
    run(Engine(causal_lm), [request("a", SWITCH - 2, num_choices=3)])
    assert [size for kind, size in causal_lm.runs if kind == "prefill"] == [SWITCH - 2] + 3 * [SWITCH + 1]


def test_others_decode_and_short_prompts_begin_while_a_sequence_is_computed_again() -> None:
    _, engine = switching()
    engine.add(request("bb", 2))
    others = [event for event in engine.step(4).events if event.request_id == "bb"]
    assert [type(event) for event in others] == [RequestAdmitted, PrefillStarted, TokenSampled]
    step = engine.step(2)
    assert (step.num_decoded, step.num_prefilled) == (1, 2)


def test_the_tokens_that_are_computed_again_count_toward_the_budget() -> None:
    engine = Engine(model())
    engine.add(request("a", SWITCH))
    assert engine.step(SWITCH).num_prefilled == SWITCH
    sizes = [engine.step(8).num_prefilled for _ in range(3)]
    assert sizes == [8, 8, 5]


@pytest.mark.parametrize("num_choices", [1, 3])
def test_a_request_that_is_computed_again_can_be_aborted(num_choices: int) -> None:
    causal_lm, engine = switching(num_choices=num_choices)
    engine.abort("a")
    assert not engine.has_work
    assert engine.num_free_slots == engine.num_slots
    assert not any(causal_lm.slots)


def test_a_choice_that_is_computed_again_can_be_aborted_alone() -> None:
    _, engine = switching(num_choices=2)
    engine.abort("a", 0)
    events = run(engine, [])
    expected = run(Engine(model(switch_length=None)), [request("a", SWITCH - 2, num_choices=2)])
    assert of(events, "a", 0) == []
    remaining = [event for event in of(events, "a", 1) if isinstance(event, TokenSampled)]
    assert remaining
    assert remaining == of(expected, "a", 1)[-len(remaining) :]


def test_a_request_that_is_computed_again_can_expire() -> None:
    _, engine = switching()
    assert engine.expire("a") == [SequenceExpired(request_id="a", index=0)]
    assert engine.num_free_slots == engine.num_slots


def test_a_failed_run_while_a_sequence_is_computed_again_ends_its_request_only() -> None:
    causal_lm, engine = switching(num_choices=2)
    engine.add(request("bb", SWITCH + 10, max_tokens=3))
    causal_lm.on_run = lambda: fail_prefill(causal_lm)
    events = run(engine, [], budget=4)
    assert [event.request_id for event in events if isinstance(event, RequestFailed)] == ["a"]
    assert len([event for event in of(events, "bb") if isinstance(event, TokenSampled)]) == 3


def fail_prefill(causal_lm: FakeCausalLM) -> None:
    """Fails the next prefill run, and none after it."""
    if causal_lm.runs[-1][0] == "prefill":
        causal_lm.fail_next, causal_lm.on_run = 1, lambda: None


@pytest.mark.parametrize("budget", [3, 16, 1000])
def test_a_constraint_goes_on_where_the_switch_interrupts_it(
    budget: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("tokenizer")
    write_tiny_tokenizer(folder)
    tokenizer = Tokenizer.load(folder)
    compiler = GrammarCompiler(tokenizer.to_json(), vocabulary_size=VOCABULARY_SIZE, eos_token_ids=frozenset({0, 2}))
    grammar = compiler.compile(RegexFormat(pattern="[a-f]{6}XYZZY[a-f]{40}")).result()
    constrained = request("a", SWITCH - 8, grammar=grammar)  # the forced letters cross the switch length
    expected = run(Engine(model(switch_length=None)), [constrained])
    assert run(Engine(model()), [constrained], budget=budget) == expected
