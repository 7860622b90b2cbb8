"""Loads an export as the server does, and decodes with its engine."""

from collections.abc import Sequence
from pathlib import Path

from onward_server.engine.engine import Engine
from onward_server.engine.generation import GenerationRequest, RawLogprobs, TokenSampled
from onward_server.model.causal_lm import CausalLM
from onward_server.model.loader import LoadedModel, load_model
from onward_server.model.onnx_session import SessionOptions
from onward_server.model.rewriting.cache import RewritingCache
from onward_server.model.rewriting.rewriter import Rewriter
from onward_server.model.source.digests import FileDigests
from onward_server.model.source.folder import ModelFolder
from onward_server.sampling import SamplingParams

NUM_TOKENS = 40
ALL_AT_ONCE, IN_CHUNKS = 10_000, 48
"""Budgets of a step, in tokens: prompts are read whole, or a part at a time beside decoding."""

Tokens = list[tuple[int, RawLogprobs | None]]


def load(folder: Path) -> LoadedModel:
    """The model of a folder, with slots for eight sequences."""
    return load_model(
        ModelFolder.read(folder),
        SessionOptions(num_threads=1, spinning=False),
        num_slots=8,
        max_context_length=None,
        prefill_chunk=512,
        rewriter=Rewriter(RewritingCache(None), FileDigests()),
    )


def tokens_of(model: CausalLM, prompts: Sequence[Sequence[int]], *, budget: int) -> list[Tokens]:
    """The tokens after each prompt, with their log probabilities; all prompts run together."""
    engine = Engine(model)
    for number, prompt in enumerate(prompts):
        engine.add(
            GenerationRequest(
                id=str(number),
                prompt_ids=prompt,
                sampling=SamplingParams(temperature=0.0, max_tokens=NUM_TOKENS, seed=0),
                seeds=(0,),
                top_logprobs=4,
            )
        )
    tokens: list[Tokens] = [[] for _ in prompts]
    while engine.has_work:
        for event in engine.step(budget).events:
            if isinstance(event, TokenSampled):
                tokens[int(event.request_id)].append((event.token_id, event.logprobs))
    engine.check_integrity()
    return tokens


def ids_of(tokens: Sequence[Tokens]) -> list[tuple[int, ...]]:
    """The tokens without their log probabilities."""
    return [tuple(token_id for token_id, _ in of_prompt) for of_prompt in tokens]
