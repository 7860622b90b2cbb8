"""Requests alone and in crowds: the same request must give the same bits."""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from onward_server.engine.engine import Engine
from onward_server.engine.generation import GenerationRequest, RawLogprobs, TokenSampled
from onward_server.model.causal_lm import CausalLM
from onward_server.model.loader import LoadedModel, load_model
from onward_server.model.onnx_session import SessionOptions
from onward_server.model.source.folder import ModelFolder
from onward_server.sampling import SamplingParams

NUM_SLOTS = 8
ALL = 10_000

Tokens = list[tuple[int, RawLogprobs | None]]


def load(folder: Path) -> LoadedModel:
    """The model of a folder, with slots for a crowd."""
    return load_model(
        ModelFolder.read(folder),
        SessionOptions(spinning=False),
        num_slots=NUM_SLOTS,
        max_context_length=None,
        prefill_chunk=512,
    )


def request(
    name: str, length: int, *, temperature: float = 1.0, num_choices: int = 1, penalties: bool = True
) -> GenerationRequest:
    """A seeded request whose prompt depends on its name alone."""
    generator = random.Random(name)
    return GenerationRequest(
        id=name,
        prompt_ids=[generator.randrange(3, 500) for _ in range(length)],
        sampling=SamplingParams(
            temperature=temperature,
            top_p=0.95,
            max_tokens=24,
            seed=7,
            frequency_penalty=0.2 if penalties else 0.0,
            repetition_penalty=1.1 if penalties else 1.0,
        ),
        seeds=tuple(range(7, 7 + num_choices)),
        top_logprobs=4,
    )


def neighbors(name: str = "neighbor") -> list[GenerationRequest]:
    return [request(f"{name} {number}", 3 + 17 * number) for number in range(NUM_SLOTS - 1)]


def steps(engine: Engine, budget: int) -> Iterator[dict[tuple[str, int], tuple[int, RawLogprobs | None]]]:
    while engine.has_work:
        sampled = [event for event in engine.step(budget).events if isinstance(event, TokenSampled)]
        yield {(event.request_id, event.index): (event.token_id, event.logprobs) for event in sampled}


def tokens_of(
    model: CausalLM,
    wanted: GenerationRequest,
    *,
    before: Sequence[GenerationRequest] = (),
    after: Sequence[GenerationRequest] = (),
    budget: int = ALL,
    late_by: int = 0,
) -> Tokens:
    """Tokens of the wanted request's first choice, run with others that arrive before and after it."""
    engine = Engine(model)
    for other in before:
        engine.add(other)
    running = steps(engine, budget)
    for _ in range(late_by):
        next(running)
    for other in (wanted, *after):
        engine.add(other)
    tokens = [step[wanted.id, 0] for step in running if (wanted.id, 0) in step]
    engine.check_integrity()
    assert engine.num_free_slots == NUM_SLOTS
    return tokens
