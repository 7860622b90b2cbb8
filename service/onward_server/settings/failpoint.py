"""The values of `--failpoint`: a fault, and the part of the server that it is injected into."""

import re
from dataclasses import dataclass
from enum import StrEnum

_SPELLING = re.compile(r"(?P<part>\w+)=(?P<fault>\w+)(?:@(?P<occurrence>[1-9][0-9]{0,8}))?")


class Part(StrEnum):
    """A part of the server that a fault can be injected into."""

    RUN = "run"
    """A run of the model."""
    SAMPLER = "sampler"
    """The choice of one token."""
    DELIVERY = "delivery"
    """The delivery of one event of the engine to its call."""


class Fault(StrEnum):
    """What goes wrong."""

    HANG = "hang"
    """The part never returns."""
    PANIC = "panic"
    """The part raises a BaseException, as a panic of a library in Rust does."""
    ERROR = "error"
    """The part raises an Exception."""
    CRASH = "crash"
    """The process ends by SIGSEGV."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failpoint:
    """A fault that is injected once."""

    part: Part
    fault: Fault
    occurrence: int = 1
    """Which use of the part fails, counted from 1."""

    @classmethod
    def parse(cls, text: str) -> "Failpoint":
        """Reads `PART=FAULT` or `PART=FAULT@N`.

        Raises:
            ValueError: The text has another form, or names an unknown part or fault.
        """
        found = _SPELLING.fullmatch(text)
        parts, faults = ", ".join(Part), ", ".join(Fault)
        if found is None or found["part"] not in set(Part) or found["fault"] not in set(Fault):
            raise ValueError(f"{text!r} is not PART=FAULT[@N]; PART is one of {parts}, FAULT one of {faults}")
        failpoint = cls(part=Part(found["part"]), fault=Fault(found["fault"]), occurrence=int(found["occurrence"] or 1))
        if failpoint.part is Part.DELIVERY and failpoint.fault is Fault.HANG:
            raise ValueError(f"{text!r} would stop the event loop, which nothing can report; use run=hang")
        return failpoint
