"""Draws answers under constraints from random logits until 500 have finished of each group, and checks each of them.

    python -m benchmarks.structured_output

Nothing helps an answer but its constraint: every allowed token is as likely, as on a model that knows nothing, at
temperature 1. What comes to 1,024 tokens is cut and counted. The schemas are the JSON Schema test suite's and our own;
JSON is checked by the jsonschema package with decimal numbers, as doubles find 0.7 to be no multiple of 0.0001.

The groups are formats of answers; requests with tools for every format of calls, each answer read as the service reads
it; and these again where now and then a mark of some format is written instead of a random token.
"""

import argparse
import itertools
import sys
import time
from collections import Counter
from collections.abc import Sequence

from benchmarks.report import write_result
from service.errors import InvalidRequest
from service.grammar.compiler import Grammar
from tests.constraint_cases import SUITE, Case, call_cases, marked_call_cases, own_cases, suite_cases
from tests.drawing import SMOLLM2, RandomWriter


def main() -> None:
    """Draws with both vocabularies, and reports."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--finished", type=int, default=500)
    parser.add_argument("--max-tokens", type=int, default=1024)
    arguments = parser.parse_args()
    groups = [
        [*own_cases(), *(suite_cases() if SUITE.exists() else ())],
        call_cases(),
        marked_call_cases(),
    ]
    writers = {512: RandomWriter.small(), **({49_152: RandomWriter.smollm2()} if SMOLLM2.exists() else {})}
    rows = [
        {"vocabulary": size, **row}
        for size, writer in writers.items()
        for cases in groups
        for row in measure(writer, cases, arguments.finished, arguments.max_tokens)
    ]
    limits = {"finished": arguments.finished, "max_tokens": arguments.max_tokens}
    write_result("structured_output", sys.argv[1:], {**limits, "rows": rows})
    sys.exit(any(row["invalid"] or row["stuck"] for row in rows))


def measure(writer: RandomWriter, cases: Sequence[Case], num_finished: int, max_tokens: int) -> list[dict[str, object]]:
    """Draws from all cases in turn, until as many as wanted have finished; one row for each kind."""
    compiled: list[tuple[Case, Grammar]] = []
    num_refused: Counter[str] = Counter()
    for case in cases:
        try:
            compiled.append((case, case.compile(writer.compiler)))
        except InvalidRequest:
            num_refused[case.kind] += 1
    counts: dict[str, Counter[str]] = {case.kind: Counter() for case, _ in compiled}
    started_s = time.perf_counter()
    for case, grammar in itertools.cycle(compiled):
        if sum(count["finished"] for count in counts.values()) >= num_finished:
            break
        counts[case.kind].update(_outcomes(writer, case, grammar, max_tokens))
    print(f"{time.perf_counter() - started_s:.0f} s", file=sys.stderr)
    kinds = {kind: sum(case.kind == kind for case, _ in compiled) for kind in counts}
    return [
        {
            "kind": kind,
            "constraints": kinds[kind],
            "refused": num_refused[kind],
            **{outcome: counts[kind][outcome] for outcome in ("finished", "cut", "invalid", "stuck", "tokens")},
        }
        for kind in counts
    ]


def _outcomes(writer: RandomWriter, case: Case, grammar: Grammar, max_tokens: int) -> Counter[str]:
    try:
        answer = writer.draw(grammar, max_tokens, case.phrases)
    except InvalidRequest as error:
        print(f"stuck: {case.name}: {error}", file=sys.stderr)
        return Counter(stuck=1)
    if answer.is_cut:
        return Counter(cut=1)
    if complaint := case.complaint(answer.text):
        print(f"invalid: {case.name}: {answer.text[:200]!r}: {complaint}", file=sys.stderr)
        return Counter(finished=1, invalid=1, tokens=answer.num_tokens)
    return Counter(finished=1, tokens=answer.num_tokens)


if __name__ == "__main__":
    main()
