"""An export whose rotation depends on the length of a sequence serves its whole context, at any load.

`tests/exports/test_checkpoints.py` compares its tokens with those of transformers.
"""

import logging
from pathlib import Path

import onnx
import pytest

from onward_server.engine.engine import Engine
from onward_server.engine.generation import GenerationRequest, TokenSampled
from onward_server.model.causal_lm import CausalLM
from onward_server.model.loader import LoadedModel
from onward_server.sampling import SamplingParams
from tests.crowds import NUM_SLOTS, Tokens, load
from tests.exports.committed_models import CommittedModel, committed_checkpoints

SWITCH = 64
"""The original length of the checkpoint."""
CHECKPOINT: CommittedModel = next(each for each in committed_checkpoints() if each.name == "phi3-longrope")
ALL = 10_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return CHECKPOINT.export(tmp_path_factory.mktemp("export"), "fp32")


@pytest.fixture(scope="module")
def loaded(folder: Path) -> LoadedModel:
    return load(folder)


def request(name: str, prompt: tuple[int, ...], *, num_choices: int = 1) -> GenerationRequest:
    return GenerationRequest(
        id=name,
        prompt_ids=prompt,
        sampling=SamplingParams(temperature=1.0, max_tokens=24, seed=7, repetition_penalty=1.1),
        seeds=tuple(range(7, 7 + num_choices)),
        top_logprobs=4,
    )


def outputs(model: CausalLM, requests: list[GenerationRequest], budget: int) -> dict[tuple[str, int], Tokens]:
    """The tokens of each choice, with log probabilities."""
    engine = Engine(model)
    for item in requests:
        engine.add(item)
    tokens: dict[tuple[str, int], Tokens] = {
        (each.id, index): [] for each in requests for index in range(len(each.seeds))
    }
    while engine.has_work:
        for event in engine.step(budget).events:
            assert not hasattr(event, "error"), event
            if isinstance(event, TokenSampled):
                tokens[event.request_id, event.index].append((event.token_id, event.logprobs))
    engine.check_integrity()
    assert engine.num_free_slots == NUM_SLOTS
    return tokens


def test_the_whole_context_is_served(loaded: LoadedModel) -> None:
    assert loaded.deterministic
    assert loaded.causal_lm.context_length == 512
    assert loaded.causal_lm.switch_length == SWITCH


@pytest.mark.parametrize("budget", [5, 16, 17, 48, ALL])
def test_a_crowd_that_crosses_the_switch_gets_the_bits_that_each_gets_alone(loaded: LoadedModel, budget: int) -> None:
    long = CHECKPOINT.prompts[-1]
    lengths = [SWITCH - 20, SWITCH - 20, SWITCH - 1, SWITCH, SWITCH + 1, 3]
    requests = [request(f"{number}", long[number : number + length]) for number, length in enumerate(lengths)]
    requests.append(request("choices", long[50 : 50 + SWITCH - 10], num_choices=2))
    together = outputs(loaded.causal_lm, requests, budget)
    for item in requests:
        alone = outputs(loaded.causal_lm, [item], ALL)
        assert {key: together[key] for key in alone} == alone
        assert all(len(tokens) == 24 for tokens in alone.values())


@pytest.mark.parametrize("index", [2, 4])
def test_tokens_after_the_switch_are_those_of_transformers(loaded: LoadedModel, index: int) -> None:
    """With a prompt below the switch length, and one that is exactly as long."""
    prompt, expected = CHECKPOINT.prompts[index], CHECKPOINT.outputs[index]
    assert len(prompt) <= SWITCH < len(prompt) + len(expected) - 1
    wanted = GenerationRequest(
        id="a",
        prompt_ids=prompt,
        sampling=SamplingParams(temperature=0.0, max_tokens=len(expected), seed=0),
        seeds=(0,),
    )
    ((_, tokens),) = outputs(loaded.causal_lm, [wanted], 16).items()
    assert tuple(token_id for token_id, _ in tokens) == expected


def test_a_graph_that_does_not_give_its_switch_length_keeps_the_original_context(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    model = onnx.ModelProto.FromString((folder / "model.onnx").read_bytes())
    del model.metadata_props[:]
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    with caplog.at_level(logging.WARNING):
        causal_lm = load(tmp_path).causal_lm
    assert causal_lm.switch_length is None
    assert causal_lm.context_length == SWITCH
    assert f"the context ends at {SWITCH} tokens instead of 512" in caplog.text
