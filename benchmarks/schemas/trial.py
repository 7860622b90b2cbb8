"""Tries one schema with one engine: acceptance, instances, sampled outputs and processor time."""

import json
import time
from dataclasses import dataclass, field
from zlib import crc32

from llguidance import LLTokenizer

from benchmarks.schemas.corpus import SchemaCase
from benchmarks.schemas.engines import Engine, SchemaRejected, takes
from benchmarks.schemas.outputs import OutputSampler
from testing.json_validation import complaint, schema_validator

_WALKS = (0, 20, 200)
"""Tokens that each sampled output walks at random before it turns to an end."""


@dataclass(slots=True)
class Outcome:
    """The result of one compiler for one schema."""

    rejection: str | None = None
    """Why the schema was rejected; the rest is empty then."""
    valid_rejected: list[str] = field(default_factory=list[str])
    invalid_accepted: list[str] = field(default_factory=list[str])
    """Instances, and sampled outputs that break the schema."""
    died: list[str] = field(default_factory=list[str])
    """How far outputs came that the engine let neither go on nor end."""
    num_finished: int = 0
    cpu_s: list[float] = field(default_factory=list[float])
    """Processor time from the schema to the first mask, one value a round."""

    @property
    def is_accepted(self) -> bool:
        return self.rejection is None

    @property
    def is_wrong(self) -> bool:
        """Whether the engine accepts the schema, but enforces another one."""
        return bool(self.valid_rejected or self.invalid_accepted or self.died)


def time_first_mask(engine: Engine, case: SchemaCase, outcome: Outcome) -> None:
    """Adds one round to an outcome; processor time is that of all threads."""
    started_s = time.process_time()
    try:
        engine.matcher(case.schema)
    except SchemaRejected as error:
        outcome.rejection = str(error)
    else:
        outcome.cpu_s.append(time.process_time() - started_s)


def examine(engine: Engine, case: SchemaCase, outcome: Outcome, tokenizer: LLTokenizer, sampler: OutputSampler) -> None:
    """Feeds the instances of a schema that the engine accepts, and samples outputs."""
    if not outcome.is_accepted:
        return
    matcher = engine.matcher(case.schema)
    outcome.valid_rejected += [text for text in case.valid if not takes(matcher, tokenizer.tokenize_str(text))]
    outcome.invalid_accepted += [text for text in case.invalid if takes(matcher, tokenizer.tokenize_str(text))]
    _sample(engine, case, outcome, sampler)


def _sample(engine: Engine, case: SchemaCase, outcome: Outcome, sampler: OutputSampler) -> None:
    validator = schema_validator(json.loads(case.schema))
    for walk in _WALKS:
        seed = crc32(f"{case.name}, {walk}".encode())
        output = sampler.sample(engine.matcher(case.schema), seed=seed, walk=walk, endings=case.endings)
        match output.ended:
            case "finished":
                outcome.num_finished += 1
                if complaint(validator, output.text) is not None:
                    outcome.invalid_accepted.append(output.text)
            case "died":
                outcome.died.append(output.text)
            case "truncated":
                pass
