"""Compares the service's schema compiler with llguidance on 700 schemas of the shapes that real programs use.

    python -m benchmarks.schemas [--only FAMILY] [--rounds 5]

For each schema and each compiler, it measures whether the schema is accepted, which valid instances are rejected and
which invalid ones accepted, whether sampled outputs finish, and the processor time from the schema to the first mask.
The two compilers are timed in turn within each round. The jsonschema package judges instances and outputs.

It exits with 1 where a bar is missed: the service accepts an invalid instance or rejects a valid one, lets an output
die, accepts fewer than 95 % of the schemas, or fewer than llguidance accepts and gets right, or takes more than 1.3
times its processor time at the median.
"""

import argparse
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.report import write_result
from benchmarks.schemas.corpus import SchemaCase, corpus
from benchmarks.schemas.engines import Engine, Llguidance, Onward
from benchmarks.schemas.outputs import OutputSampler
from benchmarks.schemas.trial import Outcome, examine, time_first_mask
from testing.vocabularies import large_vocabulary

_MIN_ACCEPTED_SHARE = 0.95
_MAX_CPU_RATIO = 1.3
_SHOWN = 200
"""Characters of an instance or an output in the result."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The outcomes of both compilers for one schema."""

    case: SchemaCase
    onward: Outcome
    llguidance: Outcome

    @property
    def cpu_ratio(self) -> float | None:
        """The service's median time over llguidance's; None where one of them rejects the schema."""
        if not (self.onward.cpu_s and self.llguidance.cpu_s):
            return None
        return statistics.median(self.onward.cpu_s) / statistics.median(self.llguidance.cpu_s)


def compare(cases: Sequence[SchemaCase], *, rounds: int) -> list[Comparison]:
    """Tries every case with both engines, and prints a line about each."""
    vocabulary = large_vocabulary()
    onward, llguidance = Onward(vocabulary), Llguidance(vocabulary)
    sampler = OutputSampler(llguidance.tokenizer, vocabulary.eos_token_ids)
    comparisons = [Comparison(case, Outcome(), Outcome()) for case in cases]
    for _ in range(rounds):
        for one in comparisons:
            time_first_mask(onward, one.case, one.onward)
            time_first_mask(llguidance, one.case, one.llguidance)
    for one in comparisons:
        engines: tuple[tuple[Engine, Outcome], ...] = ((onward, one.onward), (llguidance, one.llguidance))
        for engine, outcome in engines:
            examine(engine, one.case, outcome, llguidance.tokenizer, sampler)
        print(_line(one), file=sys.stderr, flush=True)
    onward.close()
    return comparisons


def missed_bars(comparisons: Sequence[Comparison]) -> Iterator[str]:
    """A sentence for each limit that the service exceeds."""
    for one in comparisons:
        name, outcome = one.case.name, one.onward
        for what, texts in _faults(outcome).items():
            if texts:
                yield f"{name}: {what}: {texts[0][:_SHOWN]}"
        if outcome.is_accepted and not outcome.num_finished:
            yield f"{name}: no sampled output finished"
    accepted = sum(one.onward.is_accepted for one in comparisons)
    right = sum(one.llguidance.is_accepted and not one.llguidance.is_wrong for one in comparisons)
    if accepted < _MIN_ACCEPTED_SHARE * len(comparisons):
        yield f"{accepted} of {len(comparisons)} schemas accepted, less than {_MIN_ACCEPTED_SHARE:.0%}"
    if accepted < right:
        yield f"{accepted} schemas accepted, of which llguidance accepts {right} and gets them right"
    ratio = _median_ratio(comparisons)
    if ratio > _MAX_CPU_RATIO:
        yield f"{ratio:.2f} times llguidance's processor time at the median, more than {_MAX_CPU_RATIO}"


def rows(comparisons: Sequence[Comparison]) -> list[dict[str, object]]:
    """A row for each family, then one for all."""
    families: dict[str, list[Comparison]] = defaultdict(list)
    for one in comparisons:
        families[one.case.family].append(one)
    return [_row(name, members) for name, members in families.items()] + [_row("all", comparisons)]


def _row(name: str, comparisons: Sequence[Comparison]) -> dict[str, object]:
    row: dict[str, object] = {"family": name, "schemas": len(comparisons)}
    engines: tuple[tuple[str, list[Outcome]], ...] = (
        ("onward", [one.onward for one in comparisons]),
        ("llguidance", [one.llguidance for one in comparisons]),
    )
    for engine, outcomes in engines:
        row[f"{engine}_accepted"] = sum(outcome.is_accepted for outcome in outcomes)
        row[f"{engine}_valid_rejected"] = sum(len(outcome.valid_rejected) for outcome in outcomes)
        row[f"{engine}_invalid_accepted"] = sum(len(outcome.invalid_accepted) for outcome in outcomes)
        row[f"{engine}_died"] = sum(len(outcome.died) for outcome in outcomes)
    cpu_ms = [statistics.median(one.onward.cpu_s) * 1000 for one in comparisons if one.onward.cpu_s]
    row["onward_cpu_ms"] = round(statistics.median(cpu_ms), 2) if cpu_ms else None
    row["cpu_ratio"] = round(_median_ratio(comparisons), 2)
    return row


def details(comparisons: Sequence[Comparison]) -> list[dict[str, object]]:
    """Every schema that one of the two rejects or gets wrong, with the first example of each fault."""
    return [
        {"schema": one.case.name, "onward": _detail(one.onward), "llguidance": _detail(one.llguidance)}
        for one in comparisons
        if any(not outcome.is_accepted or outcome.is_wrong for outcome in (one.onward, one.llguidance))
    ]


def _detail(outcome: Outcome) -> str:
    if outcome.rejection is not None:
        return f"rejected: {outcome.rejection[:_SHOWN]}"
    faults = [f"{what}: {texts[0][:_SHOWN]}" for what, texts in _faults(outcome).items() if texts]
    return "; ".join(faults) or "right"


def _faults(outcome: Outcome) -> Mapping[str, list[str]]:
    return {
        "valid rejected": outcome.valid_rejected,
        "invalid accepted": outcome.invalid_accepted,
        "died after": outcome.died,
    }


def _median_ratio(comparisons: Sequence[Comparison]) -> float:
    """The median over the schemas that both accept; 0 without any."""
    ratios = [one.cpu_ratio for one in comparisons if one.cpu_ratio is not None]
    return statistics.median(ratios) if ratios else 0.0


def _line(one: Comparison) -> str:
    ratio = "" if one.cpu_ratio is None else f", {one.cpu_ratio:.2f} times its processor time"
    return f"{one.case.name}: {_detail(one.onward)}; llguidance {_detail(one.llguidance)}{ratio}"


def main() -> None:
    """Compares and reports."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="names of the schemas to try begin with this; writes no result")
    parser.add_argument("--rounds", type=int, default=5, help="times that each schema is timed")
    arguments = parser.parse_args()
    comparisons = compare(list(corpus(arguments.only)), rounds=arguments.rounds)
    if arguments.only:
        print(rows(comparisons)[-1])
    else:
        result: dict[str, object] = {"rounds": arguments.rounds}
        result |= {"rows": rows(comparisons), "details": details(comparisons)}
        write_result("schemas", sys.argv[1:], result)
    if missed := list(missed_bars(comparisons)):
        sys.exit("\n".join(f"missed: {bar}" for bar in missed))


if __name__ == "__main__":
    main()
