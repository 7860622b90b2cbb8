"""Samples outputs of a model with random weights under constraints, until 500 of each group are finished; checks all.

    python -m benchmarks.structured_output

Engine, sampler and masks are those of the service, with sixteen sequences at once and temperature 1. The decoder is
small and has random weights, once with a vocabulary of 512 tokens and once with one of 49,152. An output that reaches
1,024 tokens is truncated and counted. The jsonschema package checks JSON, with decimal numbers because the double 0.7
is no multiple of 0.0001. Other parsers check regular expressions and grammars; the service's own parser reads tool
calls.

The script exits with 1 if an output is invalid or stuck, if fewer than 500 of a group finish, if fewer than 100 schemas
are accepted, or if more than a quarter of the schemas' outputs with the small vocabulary are truncated.
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
from testing.call_cases import call_cases, forced_call_cases
from testing.constraint_cases import Case, own_cases
from testing.keyword_cases import accepted_schemas
from testing.text_cases import text_cases
from testing.vocabularies import Vocabulary, large_vocabulary, small_vocabulary

_SMALL = 512
_SCHEMAS = "schema"
_SLOTS = 16
_ALL = 1 << 20
_MAX_TRIES = 10
"""Outputs that are started for each that must finish."""
_MIN_SCHEMAS = 100
_MAX_TRUNCATED_SHARE = 0.25


@dataclass(slots=True)
class Output:
    """An output in progress."""

    case: Case
    token_ids: list[int] = field(default_factory=list[int])


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The counts of one group."""

    vocabulary: int
    group: str
    constraints: int
    rejected: int
    """Further constraints, which the service rejects because it cannot enforce them."""
    finished: int
    truncated: int
    truncated_share: float
    invalid: int
    """Of those that finished."""
    stuck: int
    tokens: int


class Trial:
    """Samples outputs under the constraints of one group, which take turns."""

    def __init__(self, model: RandomModel, cases: Sequence[Case], *, num_finished: int, max_tokens: int) -> None:
        """Compiles the constraints."""
        self.grammars = list(_accepted(model.compiler, cases))
        self.count: Counter[str] = Counter()
        self._model = model
        self._num_finished = num_finished
        self._max_tokens = max_tokens
        self._running: dict[str, Output] = {}

    def run(self) -> None:
        """Keeps all slots busy until enough outputs have finished, then finishes the outputs in progress."""
        engine = self._model.engine
        turns = enumerate(itertools.islice(itertools.cycle(self.grammars), _MAX_TRIES * self._num_finished))
        self._fill_slots(turns)
        while engine.has_work:
            for event in engine.step(_ALL).events:
                self._take(event)
            self._fill_slots(turns)
        engine.check_integrity()
        for output in self._running.values():
            self._note_stuck(output, "the engine lost the sequence")

    def _fill_slots(self, turns: Iterator[tuple[int, tuple[Case, Grammar]]]) -> None:
        while (
            len(self._running) < _SLOTS and self.count["finished"] < self._num_finished and (turn := next(turns, None))
        ):
            number, (case, grammar) = turn
            self._running[str(number)] = Output(case)
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

    def _end(self, output: Output, finish: Finish) -> None:
        self.count["tokens"] += len(output.token_ids)
        if finish.reason is not FinishReason.STOP:
            self.count["truncated"] += 1
            return
        self.count["finished"] += 1
        shown = output.token_ids[:-1] if isinstance(finish.cause, EndOfSequence) else output.token_ids
        text = self._model.text(shown)
        if complaint := output.case.complaint(text):
            self.count["invalid"] += 1
            print(f"invalid: {output.case.name}: {text[:200]!r}: {complaint}", file=sys.stderr)

    def _note_stuck(self, output: Output, why: str) -> None:
        self.count["stuck"] += 1
        print(f"stuck: {output.case.name}, after {len(output.token_ids)} tokens: {why}", file=sys.stderr)


def measure(vocabulary: Vocabulary, *, num_finished: int, max_tokens: int) -> Iterator[Row]:
    """Yields a row for each group."""
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
    """Yields a sentence for each limit that is exceeded."""
    for row in rows:
        name = f"{row.group}, {row.vocabulary} tokens"
        if row.invalid or row.stuck:
            yield f"{name}: {row.invalid} invalid, {row.stuck} stuck"
        if row.finished < num_finished:
            yield f"{name}: {row.finished} of {num_finished} finished"
        if row.group == _SCHEMAS and row.constraints < _MIN_SCHEMAS:
            yield f"{name}: {row.constraints} schemas, of which {_MIN_SCHEMAS} are wanted"
        if row.group == _SCHEMAS and row.vocabulary == _SMALL and row.truncated_share > _MAX_TRUNCATED_SHARE:
            yield f"{name}: {row.truncated_share:.0%} truncated, of which {_MAX_TRUNCATED_SHARE:.0%} are allowed"


def _groups(vocabulary_size: int) -> dict[str, list[Case]]:
    """The cases by group. The large vocabulary has no optional calls, because most such outputs are truncated."""
    texts = text_cases()
    kinds = ("regex", "grammar", "choice")
    groups = {_SCHEMAS: [*(case.constraint for case in accepted_schemas()), *own_cases()]}
    groups |= {kind: [case for case in texts if case.kind == kind] for kind in kinds}
    groups["forced calls"] = forced_call_cases()
    if vocabulary_size == _SMALL:
        groups["calls, text or reasoning"] = call_cases()
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
        rejected=len(cases) - len(trial.grammars),
        finished=count["finished"],
        truncated=count["truncated"],
        truncated_share=round(count["truncated"] / max(count["finished"] + count["truncated"], 1), 3),
        invalid=count["invalid"],
        stuck=count["stuck"],
        tokens=count["tokens"],
    )


def main() -> None:
    """Sample with both vocabularies, and write the result."""
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
