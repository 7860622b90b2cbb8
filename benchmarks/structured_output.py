"""Samples outputs from a model with random weights until 500 have ended for each group of constraints; checks each.

    python -m benchmarks.structured_output

Engine, sampler and masks are those of the service, with sixteen sequences at once and temperature 1. The decoder is
small and has random weights, once with a vocabulary of 512 tokens and once with one of 49,152. An output that reaches
1,024 tokens is truncated and counted. The jsonschema package checks JSON, with decimal numbers because the double 0.7
is no multiple of 0.0001. Other parsers check regular expressions and grammars; the service's own parser reads tool
calls.

It exits with 1 where a bar is missed: an output is invalid or stuck, fewer end than wanted, fewer than 100 schemas are
accepted, or more than a quarter of their outputs with the small vocabulary is truncated.
"""

import argparse
import itertools
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.random_model import RandomModel
from benchmarks.report import write_result
from onward_server.domain import EndOfSequence, FinishReason
from onward_server.engine.generation import (
    EngineEvent,
    Finish,
    GenerationRequest,
    RequestFailed,
    SequenceFailed,
    TokenSampled,
)
from onward_server.errors import InvalidRequest
from onward_server.grammar.compiler import Grammar, GrammarCompiler
from onward_server.sampling import SamplingParams
from testing.constraint_cases import SUITE, Case, call_cases, forced_call_cases, own_cases, suite_cases
from testing.text_cases import text_cases
from testing.vocabularies import Vocabulary, large_vocabulary, small_vocabulary

_SMALL = 512
_SCHEMAS = "schema"
_SLOTS = 16
_ALL = 1 << 20
_MAX_TRIES = 10
"""Answers that are begun for each that is to end."""
_MIN_SCHEMAS = 100
_MAX_CUT_SHARE = 0.25


@dataclass(slots=True)
class Answer:
    """One that is being written."""

    case: Case
    token_ids: list[int] = field(default_factory=list[int])


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What became of one group's answers."""

    vocabulary: int
    group: str
    constraints: int
    refused: int
    """Further constraints, of which the service says that it cannot keep to them."""
    finished: int
    cut: int
    cut_share: float
    invalid: int
    """Of those that finished."""
    stuck: int
    tokens: int


class Trial:
    """Answers to the constraints of one group, each in its turn."""

    def __init__(self, model: RandomModel, cases: Sequence[Case], *, num_finished: int, max_tokens: int) -> None:
        """Compiles them."""
        self.grammars = list(_accepted(model.compiler, cases))
        self.count: Counter[str] = Counter()
        self._model = model
        self._num_finished = num_finished
        self._max_tokens = max_tokens
        self._running: dict[str, Answer] = {}

    def run(self) -> None:
        """Keeps the slots full until as many as wanted have finished, then waits for those that are on their way."""
        engine = self._model.engine
        turns = enumerate(itertools.islice(itertools.cycle(self.grammars), _MAX_TRIES * self._num_finished))
        self._fill_slots(turns)
        while engine.has_work:
            for event in engine.step(_ALL).events:
                self._take(event)
            self._fill_slots(turns)
        engine.check_integrity()
        for answer in self._running.values():
            self._note_stuck(answer, "the engine forgot it")

    def _fill_slots(self, turns: Iterator[tuple[int, tuple[Case, Grammar]]]) -> None:
        while (
            len(self._running) < _SLOTS and self.count["finished"] < self._num_finished and (turn := next(turns, None))
        ):
            number, (case, grammar) = turn
            self._running[str(number)] = Answer(case)
            self._model.engine.add(
                GenerationRequest(
                    id=str(number),
                    prompt_ids=(number % self._model.num_tokens,),
                    sampling=SamplingParams(temperature=1.0, max_tokens=self._max_tokens, seed=number),
                    seeds=(number,),
                    eos_token_ids=self._model.eos_token_ids,
                    grammar=grammar,
                )
            )

    def _take(self, event: EngineEvent) -> None:
        match event:
            case TokenSampled(request_id=name, token_id=token_id, finish=finish):
                self._running[name].token_ids.append(token_id)
                if finish is not None:
                    self._end(self._running.pop(name), finish)
            case SequenceFailed(request_id=name, error=error) | RequestFailed(request_id=name, error=error):
                self._note_stuck(self._running.pop(name), str(error))
            case _:
                pass

    def _end(self, answer: Answer, finish: Finish) -> None:
        self.count["tokens"] += len(answer.token_ids)
        if finish.reason is not FinishReason.STOP:
            self.count["cut"] += 1
            return
        self.count["finished"] += 1
        shown = answer.token_ids[:-1] if isinstance(finish.cause, EndOfSequence) else answer.token_ids
        text = self._model.text(shown)
        if complaint := answer.case.complaint(text):
            self.count["invalid"] += 1
            print(f"invalid: {answer.case.name}: {text[:200]!r}: {complaint}", file=sys.stderr)

    def _note_stuck(self, answer: Answer, why: str) -> None:
        self.count["stuck"] += 1
        print(f"stuck: {answer.case.name}, after {len(answer.token_ids)} tokens: {why}", file=sys.stderr)


def measure(vocabulary: Vocabulary, *, num_finished: int, max_tokens: int) -> Iterator[Row]:
    """One row for each group."""
    with TemporaryDirectory() as directory:
        model = RandomModel(Path(directory), vocabulary, num_slots=_SLOTS)
        for group, cases in _groups(vocabulary.size).items():
            started_s = time.perf_counter()
            trial = Trial(model, cases, num_finished=num_finished, max_tokens=max_tokens)
            trial.run()
            row = _row(vocabulary.size, group, cases, trial)
            print(f"{time.perf_counter() - started_s:.0f} s: {row}", file=sys.stderr, flush=True)
            yield row
        model.close()


def missed_bars(rows: Sequence[Row], num_finished: int) -> Iterator[str]:
    """What is not as it should be."""
    for row in rows:
        name = f"{row.group}, {row.vocabulary} tokens"
        if row.invalid or row.stuck:
            yield f"{name}: {row.invalid} invalid, {row.stuck} stuck"
        if row.finished < num_finished:
            yield f"{name}: {row.finished} of {num_finished} finished"
        if row.group == _SCHEMAS and row.constraints < _MIN_SCHEMAS:
            yield f"{name}: {row.constraints} schemas, of which {_MIN_SCHEMAS} are wanted"
        if row.group == _SCHEMAS and row.vocabulary == _SMALL and row.cut_share > _MAX_CUT_SHARE:
            yield f"{name}: {row.cut_share:.0%} cut, of which {_MAX_CUT_SHARE:.0%} are allowed"


def _groups(vocabulary_size: int) -> dict[str, list[Case]]:
    """With a large vocabulary, what is free is cut as a rule: an end or a mark is one token of very many."""
    texts = text_cases()
    kinds = ("regex", "grammar", "choice")
    groups = {_SCHEMAS: [*(suite_cases() if SUITE.exists() else ()), *own_cases()]}
    groups |= {kind: [case for case in texts if case.kind == kind] for kind in kinds}
    groups["forced calls"] = forced_call_cases()
    if vocabulary_size == _SMALL:
        groups["calls, text or thoughts"] = call_cases()
    return groups


def _accepted(compiler: GrammarCompiler, cases: Sequence[Case]) -> Iterator[tuple[Case, Grammar]]:
    for case in cases:
        try:
            yield case, case.compile(compiler)
        except InvalidRequest:
            continue


def _row(vocabulary_size: int, group: str, cases: Sequence[Case], trial: Trial) -> Row:
    count = trial.count
    return Row(
        vocabulary=vocabulary_size,
        group=group,
        constraints=len(trial.grammars),
        refused=len(cases) - len(trial.grammars),
        finished=count["finished"],
        cut=count["cut"],
        cut_share=round(count["cut"] / max(count["finished"] + count["cut"], 1), 3),
        invalid=count["invalid"],
        stuck=count["stuck"],
        tokens=count["tokens"],
    )


def main() -> None:
    """Draws with both vocabularies, and reports."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--finished", type=int, default=500)
    parser.add_argument("--max-tokens", type=int, default=1024)
    arguments = parser.parse_args()
    limits = {"num_finished": arguments.finished, "max_tokens": arguments.max_tokens}
    rows = [row for vocabulary in (small_vocabulary(), large_vocabulary()) for row in measure(vocabulary, **limits)]
    write_result("structured_output", sys.argv[1:], {**limits, "rows": [asdict(row) for row in rows]})
    if missed := list(missed_bars(rows, arguments.finished)):
        sys.exit("\n".join(f"missed: {bar}" for bar in missed))


if __name__ == "__main__":
    main()
