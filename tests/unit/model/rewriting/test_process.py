"""What the process that rewrites graphs returns, and that it finds rewritten graphs that are wrong on purpose."""

import json
from pathlib import Path

import onnx
import pytest
from onnx import helper

from onward_server.model.rewriting.job import Change, Job
from onward_server.model.rewriting.outcome import NotServed, Rewritten, outcome_of
from onward_server.model.rewriting.process import compare, run_in_child
from onward_server.model.source.graph_in_place import GraphInPlace
from testing.tiny_model import TINY, write_tiny_model

_WINDOW = 150


def job_of(folder: Path, *, change: Change = "slots", context_length: int = TINY.max_positions) -> Job:
    graph = GraphInPlace.read(folder / "model.onnx", set())
    return Job(
        model=graph.model,
        folder=str(graph.folder),
        change=change,
        config=json.loads((folder / "config.json").read_text()),
        context_length=context_length,
        num_threads=1,
    )


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    return job_of(write_tiny_model(tmp_path_factory.mktemp("models") / "tiny", layout="growing"))


@pytest.fixture(scope="module")
def rewritten(job: Job) -> Rewritten:
    outcome = outcome_of(run_in_child([], job.to_bytes()))
    assert isinstance(outcome, Rewritten)
    return outcome


def with_attribute(model: bytes, name: str, value: float) -> bytes:
    """The model, with another value of an attribute in the attention of the first layer."""
    changed = onnx.load_model_from_string(model)
    attention = next(node for node in changed.graph.node if node.op_type == "GroupQueryAttention")
    kept = [attribute for attribute in attention.attribute if attribute.name != name]
    del attention.attribute[:]
    attention.attribute.extend([*kept, helper.make_attribute(name, value)])
    return changed.SerializeToString()


def test_a_decomposed_graph_is_rewritten_within_rounding(job: Job, rewritten: Rewritten) -> None:
    assert rewritten.changes.startswith("slots (3 layers, 4 heads, 2 KV heads of size 16")
    assert rewritten.difference < 1e-5
    assert compare(job, rewritten.model, []) == rewritten.difference


def test_a_graph_with_another_scale_is_found(job: Job, rewritten: Rewritten) -> None:
    with pytest.raises(NotServed, match="a prompt of 1 tokens and 1 decoded ones alone"):
        compare(job, with_attribute(rewritten.model, "scale", 0.3), [])


def test_a_graph_that_is_wrong_beyond_a_window_alone_is_found(job: Job, rewritten: Rewritten) -> None:
    """Prompts of up to 130 tokens and their outputs fit into the window."""
    wrong = with_attribute(rewritten.model, "local_window_size", _WINDOW)
    with pytest.raises(NotServed, match=r"a prompt of (148|191|252) tokens"):
        compare(job, wrong, [_WINDOW])
    with pytest.raises(NotServed, match="a prompt of 252 tokens alone"):
        compare(job, wrong, [])


def test_a_context_that_is_too_short_for_a_comparison_is_refused(job: Job) -> None:
    short = Job.from_bytes(job.to_bytes().replace(b'"context_length": 256', b'"context_length": 7'))
    assert short.context_length == 7
    with pytest.raises(NotServed, match="its context of 7 tokens is too short to compare it"):
        run_in_child([], short.to_bytes())


def test_what_is_not_recognized_is_refused_with_the_reason(tmp_path: Path) -> None:
    slots = job_of(write_tiny_model(tmp_path / "tiny"))
    with pytest.raises(NotServed):
        run_in_child([], slots.to_bytes())


def test_a_graph_with_slots_gives_the_same_bits_for_its_last_logits(tmp_path: Path) -> None:
    slots = job_of(write_tiny_model(tmp_path / "tiny"), change="last_logits")
    outcome = outcome_of(run_in_child([], slots.to_bytes()))
    assert isinstance(outcome, Rewritten)
    assert (outcome.changes, outcome.difference) == ("logits of last tokens only", 0)
