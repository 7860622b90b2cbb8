"""The decoding loop under a constraint, with real grammars over a tiny tokenizer and scripted logits."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onward_server.domain import (
    ChoiceFormat,
    ConstraintComplete,
    EndOfSequence,
    FinishReason,
    RegexFormat,
    ResponseFormat,
)
from onward_server.engine.engine import Engine
from onward_server.engine.generation import EngineEvent, Finish, GenerationRequest, SequenceFailed, TokenSampled
from onward_server.errors import InvalidReason, InvalidRequest
from onward_server.grammar.compiler import Grammar, GrammarCompiler
from onward_server.grammar.matcher import GrammarMatcher
from onward_server.model.tokenizer import Tokenizer
from onward_server.sampling import SamplingParams
from testing.tiny_model import write_tiny_tokenizer
from tests.fakes import FakeCausalLM

EOS = frozenset({0, 2})
VOCABULARY_SIZE = 512


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder: Path = tmp_path_factory.mktemp("tokenizer")
    write_tiny_tokenizer(folder)
    return Tokenizer.load(folder)


@pytest.fixture(scope="module")
def compiler(tokenizer: Tokenizer) -> GrammarCompiler:
    return GrammarCompiler(tokenizer.to_json(), vocabulary_size=VOCABULARY_SIZE, eos_token_ids=EOS)


def noise(token_ids: list[int]) -> int:
    """A model of pseudo-random output: its most likely token depends on all tokens so far."""
    return int(np.random.default_rng(token_ids).integers(VOCABULARY_SIZE))


def run(
    grammar: Grammar | None, *, num_choices: int = 1, max_tokens: int = 200, **sampling: object
) -> list[EngineEvent]:
    model = FakeCausalLM(noise, vocabulary_size=VOCABULARY_SIZE, context_length=1000)
    engine = Engine(model)
    params: dict[str, Any] = {"temperature": 1.0, "max_tokens": max_tokens, "seed": 3, **sampling}
    engine.add(
        GenerationRequest(
            id="a",
            prompt_ids=[5, 6, 7],
            sampling=SamplingParams(**params),
            seeds=tuple(range(num_choices)),
            eos_token_ids=EOS,
            grammar=grammar,
        )
    )
    events: list[EngineEvent] = []
    while engine.has_work:
        events += engine.step(100).events
    engine.check_integrity()
    engine.close()
    assert engine.num_free_slots == model.num_slots
    return events


def text_and_finish(events: list[EngineEvent], tokenizer: Tokenizer, index: int = 0) -> tuple[str, Finish | None]:
    sampled = [event for event in events if isinstance(event, TokenSampled) and event.index == index]
    text = tokenizer.decode([event.token_id for event in sampled], keep_special_tokens=False)
    return text, sampled[-1].finish


@pytest.mark.parametrize("temperature", [0.0, 2.0])
def test_each_choice_follows_the_constraint_and_ends_when_it_is_complete(
    compiler: GrammarCompiler, tokenizer: Tokenizer, temperature: float
) -> None:
    grammar = compiler.compile(ChoiceFormat(choices=("harbour", "ferry", "gulls"))).result()
    events = run(grammar, num_choices=4, temperature=temperature)
    for index in range(4):
        text, finish = text_and_finish(events, tokenizer, index)
        assert text in ("harbour", "ferry", "gulls")
        assert finish == Finish(FinishReason.STOP, ConstraintComplete())


def test_a_choice_may_end_once_its_constraint_is_satisfied(compiler: GrammarCompiler, tokenizer: Tokenizer) -> None:
    grammar = compiler.compile(RegexFormat(pattern="[0-9]+")).result()
    text, finish = text_and_finish(run(grammar, logit_bias=((2, 8.0),)), tokenizer)
    assert text.isdecimal()
    assert finish == Finish(FinishReason.STOP, EndOfSequence(2))


@pytest.mark.parametrize("sampling", [{"ignore_eos": True}, {"min_tokens": 40}], ids=str)
def test_an_unwanted_end_is_not_sampled_while_the_constraint_allows_other_tokens(
    compiler: GrammarCompiler, tokenizer: Tokenizer, sampling: dict[str, Any]
) -> None:
    grammar = compiler.compile(RegexFormat(pattern="[0-9]+")).result()
    events = run(grammar, max_tokens=40, logit_bias=((2, 50.0),), **sampling)
    text, finish = text_and_finish(events, tokenizer)
    assert len(text) >= 40
    assert finish == Finish(FinishReason.LENGTH)


@pytest.mark.parametrize("sampling", [{"ignore_eos": True}, {"min_tokens": 50}], ids=str)
def test_a_complete_constraint_ends_a_choice_despite_ignore_eos_and_min_tokens(
    compiler: GrammarCompiler, tokenizer: Tokenizer, sampling: dict[str, Any]
) -> None:
    grammar = compiler.compile(RegexFormat(pattern="[a-c]{3}")).result()
    text, finish = text_and_finish(run(grammar, **sampling), tokenizer)
    assert len(text) == 3
    assert finish == Finish(FinishReason.STOP, ConstraintComplete())


def test_forced_tokens_are_appended_whatever_the_logits_are(compiler: GrammarCompiler, tokenizer: Tokenizer) -> None:
    wanted = "the harbour master was wrong about fog"
    text, _ = text_and_finish(run(compiler.compile(RegexFormat(pattern=f"{wanted}!")).result()), tokenizer)
    assert text == f"{wanted}!"


@pytest.mark.parametrize(
    "response_format", [RegexFormat(pattern="[a-c]{9}"), ChoiceFormat(choices=("bxqzkj", "kvwbqz"))]
)
def test_max_tokens_limits_a_constrained_choice(
    compiler: GrammarCompiler, tokenizer: Tokenizer, response_format: ResponseFormat
) -> None:
    events = run(compiler.compile(response_format).result(), max_tokens=2)
    assert sum(isinstance(event, TokenSampled) for event in events) == 2
    _, finish = text_and_finish(events, tokenizer)
    assert finish == Finish(FinishReason.LENGTH)


def test_a_constraint_that_fails_ends_its_choice_with_the_reason(
    compiler: GrammarCompiler, monkeypatch: pytest.MonkeyPatch
) -> None:
    grammar = compiler.compile(RegexFormat(pattern="[0-9]{50}")).result()
    matcher = grammar.matcher()
    num_accepted = 0

    def accept(token_id: int) -> None:
        nonlocal num_accepted
        num_accepted += 1
        if num_accepted == 3:
            raise InvalidRequest.of("response_format.regex.pattern", "failed", InvalidReason.INVALID_RESPONSE_FORMAT)
        type(matcher).accept(matcher, token_id)

    monkeypatch.setattr(matcher, "accept", accept)

    def the_same_matcher(_: Grammar) -> GrammarMatcher:
        return matcher

    monkeypatch.setattr(Grammar, "matcher", the_same_matcher)
    last = run(grammar)[-1]
    assert isinstance(last, SequenceFailed)
    assert isinstance(last.error, InvalidRequest)
