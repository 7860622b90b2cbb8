"""Compares a rewritten graph with its original on probe prompts.

The original computes each prompt alone: a prefill, then a few decode runs with its most likely tokens. The rewritten
graph gets the same tokens in three ways: each prompt alone, each in chunks, and three of them together in decode runs,
a short one beside the longest. This finds errors that show only in a batch, in a chunk or beyond a window.

If the original has slots, too, its logits may depend on the way. So it also runs in these ways, and each run of one is
compared with that of the other.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from onward_server.model.causal_lm import CausalLM, Logits
from onward_server.model.rewriting.outcome import NotServed

NUM_SLOTS = 3
"""How many slots a compared model must have."""

_LENGTHS = (1, 2, 7, 33, 130, 300)
_NUM_DECODED = 4
_CHUNK = 256
"""A prefill run of a long prompt; attention of decomposed graphs needs memory for every pair of tokens in a run."""
_ODD_CHUNKS = (2, 3, 61)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """How much logits may differ."""

    difference: float
    """Largest difference of a logit, as a part of the range of its row."""
    tie: float
    """Another most likely token is accepted if the original's logits of the two differ by no more than this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What the original gives for a prompt."""

    prompt: npt.NDArray[np.int64]  # (S,)
    decoded: Sequence[int]
    """The tokens that are appended to the prompt one by one."""
    logits: Logits  # (1 + len(decoded), V)
    """After the prompt, and after each decoded token."""


def prompt_lengths(context_length: int, windows: Iterable[int]) -> list[int]:
    """Lengths of probe prompts: short ones, and for each attention window one that ends in it and one beyond."""
    longest = context_length - _NUM_DECODED
    beyond = {length for window in windows for length in (window - 2, window + _NUM_DECODED + 37)}
    return sorted({min(max(length, 1), longest) for length in {*_LENGTHS, *beyond}})


def expected_of(model: CausalLM, lengths: Sequence[int]) -> list[Expected]:
    """Runs the original."""
    return [_expected(model, _prompt(model, length)) for length in lengths]


def counterparts(model: CausalLM, expected: Sequence[Expected]) -> list[Logits]:
    """Runs the original in the ways in which `largest_difference` runs the rewritten graph; returns each row (V,)."""
    return [run.logits.copy() for run in _runs(model, expected)]


def largest_difference(
    model: CausalLM, expected: Sequence[Expected], tolerance: Tolerance, wanted: Sequence[Logits] | None = None
) -> float:
    """Runs the rewritten graph; returns the largest difference of a logit, as a part of the range of its row.

    Args:
        model: The rewritten graph.
        expected: What the original gives for each prompt.
        tolerance: How much logits may differ.
        wanted: What the original gives in each run, from `counterparts`; None: what it gives for a prompt alone.

    Raises:
        NotServed: A next token differs, or a logit by more than the tolerance.
    """
    return max(
        _checked(run.logits, run.alone if wanted is None else wanted[number], tolerance, run.place)
        for number, run in enumerate(_runs(model, expected))
    )


def _prompt(model: CausalLM, length: int) -> npt.NDArray[np.int64]:
    return np.random.default_rng(length).integers(0, model.vocabulary_size, length, np.int64)


def _expected(model: CausalLM, prompt: npt.NDArray[np.int64]) -> Expected:
    chunks = _chunks(len(prompt)) if model.fixed_chunk is None else _chunks(len(prompt), model.fixed_chunk)
    rows = [_prefill(model, 0, prompt, chunks).copy()]
    decoded: list[int] = []
    for _ in range(_NUM_DECODED):
        decoded.append(int(np.argmax(rows[-1])))
        rows.append(model.decode([0], decoded[-1:])[0].copy())
    model.release(0)
    return Expected(prompt=prompt, decoded=decoded, logits=np.stack(rows))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """A row of a run."""

    place: str
    logits: Logits  # (V,), valid until the next run
    alone: Logits  # (V,), of the original for the prompt alone

    @classmethod
    def of(cls, way: str, case: Expected, row: int, logits: Logits) -> "_Run":
        decoded = f" and {row} decoded ones" if row else ""
        place = f"a prompt of {len(case.prompt)} tokens{decoded} {way}"
        return cls(place=place, logits=logits, alone=case.logits[row])


def _runs(model: CausalLM, expected: Sequence[Expected]) -> Iterator[_Run]:
    for case in expected:
        yield _Run.of("alone", case, 0, _prefill(model, 0, case.prompt, _chunks(len(case.prompt))))
        for row, logits in enumerate(_decoded(model, [case]), start=1):
            yield _Run.of("alone", case, row, logits[0])
        model.release(0)
        if len(case.prompt) > sum(_ODD_CHUNKS):
            yield _Run.of("in chunks", case, 0, _prefill(model, 0, case.prompt, _odd_chunks(len(case.prompt))))
            model.release(0)
    together = [expected[len(expected) // 2], expected[0], expected[-1]]
    for slot, case in enumerate(together):
        yield _Run.of("beside others", case, 0, _prefill(model, slot, case.prompt, _chunks(len(case.prompt))))
    for row, logits in enumerate(_decoded(model, together), start=1):
        for slot, case in enumerate(together):
            yield _Run.of("beside others", case, row, logits[slot])
    for slot in range(len(together)):
        model.release(slot)


def _decoded(model: CausalLM, cases: Sequence[Expected]) -> Iterator[Logits]:
    """Logits (B, V) of each decode run; case i is in slot i."""
    for step in range(_NUM_DECODED):
        yield model.decode(range(len(cases)), [case.decoded[step] for case in cases])


def _prefill(model: CausalLM, slot: int, prompt: npt.NDArray[np.int64], chunks: Iterable[int]) -> Logits:
    start = 0
    logits = np.empty(0, np.float32)
    for size in chunks:
        logits = model.prefill(slot, prompt[start : start + size])
        start += size
    return logits


def _chunks(length: int, size: int = _CHUNK) -> list[int]:
    """Sizes of prefill runs. A last run of one token would use other kernels, so it belongs to the run before."""
    whole, rest = divmod(length, size)
    sizes = [size] * whole
    if rest == 1 and sizes:
        sizes[-1] += 1
    elif rest:
        sizes.append(rest)
    return sizes


def _odd_chunks(length: int) -> list[int]:
    return [*_ODD_CHUNKS, *_chunks(length - sum(_ODD_CHUNKS))]


def _checked(found: Logits, wanted: Logits, tolerance: Tolerance, where: str) -> float:
    """The largest difference of a row (V,), as a part of the range of `wanted`."""
    if not (np.isfinite(found).all() and np.isfinite(wanted).all()):
        raise NotServed(f"the logits after {where} are not finite")
    spread = float(np.ptp(wanted)) or 1.0
    difference = float(np.abs(found - wanted).max()) / spread
    if difference > tolerance.difference:
        raise NotServed(
            f"a logit after {where} differs by {difference:.2g} of the range of its row, and "
            f"{tolerance.difference:.1g} is allowed"
        )
    token, other = int(np.argmax(wanted)), int(np.argmax(found))
    if token != other and float(wanted[token] - wanted[other]) > tolerance.tie * spread:
        raise NotServed(f"the next token after {where} is {other} instead of {token}")
    return difference
