"""Which graphs are rewritten, what happens if their process fails, and what is kept of it."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onward_server.model.onnx_session import SessionOptions
from onward_server.model.rewriting import rewriter as rewriter_module
from onward_server.model.rewriting.cache import RewritingCache
from onward_server.model.rewriting.outcome import Kept, Outcome, Rewritten
from onward_server.model.rewriting.rewriter import Rewriter
from onward_server.model.source.digests import FileDigests
from onward_server.model.source.folder import ModelFolder
from onward_server.model.source.graph_in_place import GraphInPlace
from testing.tiny_model import write_tiny_model

_PROCESS = "tests.rewriting_processes"


class Case:
    """A decomposed model, whose configuration says what the process in place of the real one does with it."""

    def __init__(self, path: Path, process: str = "rewrites") -> None:
        self.path = write_tiny_model(path / "tiny", layout="growing")
        self.cache_folder = path / "cache"
        self._calls = path / "calls"
        self.configure(process=process, calls=str(self._calls))

    def configure(self, **changes: object) -> None:
        path = self.path / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    def rewrite(self, *, prefill_chunk: int = 512) -> Outcome:
        folder = ModelFolder.read(self.path)
        graph = GraphInPlace.read(folder.onnx_path, set())
        rewriter = Rewriter(RewritingCache(self.cache_folder), FileDigests(), process=_PROCESS)
        return rewriter.rewrite(folder, graph, SessionOptions(num_threads=1), prefill_chunk=prefill_chunk)

    def edit(self, change: Callable[[onnx.ModelProto], object]) -> None:
        model = onnx.ModelProto.FromString((self.path / "model.onnx").read_bytes())
        change(model)
        (self.path / "model.onnx").write_bytes(model.SerializeToString())

    @property
    def num_calls(self) -> int:
        return len(self._calls.read_text()) if self._calls.is_file() else 0


def negate(tensor: TensorProto) -> None:
    tensor.raw_data = (-numpy_helper.to_array(tensor)).tobytes()


def test_a_graph_is_rewritten_once(tmp_path: Path) -> None:
    case = Case(tmp_path)
    first = case.rewrite()
    assert isinstance(first, Rewritten)
    assert case.rewrite() == first
    assert case.num_calls == 1


def test_a_reason_not_to_rewrite_is_kept(tmp_path: Path) -> None:
    case = Case(tmp_path, "refuses")
    assert case.rewrite() == case.rewrite() == Kept(reason="its attention is of no known form")
    assert case.num_calls == 1


@pytest.mark.parametrize("changed", ["weights", "configuration", "version"])
def test_a_graph_is_rewritten_again_if_anything_has_changed(
    tmp_path: Path, changed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = Case(tmp_path)
    case.rewrite()
    match changed:
        case "weights":
            case.edit(lambda model: negate(model.graph.initializer[0]))
        case "configuration":
            case.configure(sliding_window=7)
        case _:
            monkeypatch.setattr(rewriter_module, "VERSION", "0.0.0")
    case.rewrite()
    assert case.num_calls == 2


@pytest.mark.parametrize(
    ("process", "sentence", "num_calls"),
    [
        ("is killed", "its process was killed with SIGKILL", 2),
        ("hoards", "it takes more than", 2),
        ("hangs", "it takes more than 1 s", 2),
        ("returns junk", "the process returned no graph", 2),
        ("crashes", "it crashes its process with SIGSEGV", 1),
    ],
)
def test_if_the_process_fails_the_original_is_served(
    tmp_path: Path, process: str, sentence: str, num_calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure that may be the machine's is not kept: the next start tries again."""
    if process == "hangs":
        monkeypatch.setattr(rewriter_module, "_BASE_S", 1)
        monkeypatch.setattr(rewriter_module, "_S_PER_GIB", 0)
    case = Case(tmp_path, process)
    for _ in range(2):
        outcome = case.rewrite()
        assert isinstance(outcome, Kept)
        assert outcome.reason.startswith(f"rewriting it failed: {sentence}")
    assert case.num_calls == num_calls


def test_what_a_library_prints_does_not_spoil_the_outcome(tmp_path: Path) -> None:
    assert isinstance(Case(tmp_path, "prints").rewrite(), Rewritten)


def test_without_a_cache_folder_a_graph_is_rewritten_at_each_start(tmp_path: Path) -> None:
    case = Case(tmp_path)
    case.cache_folder.write_text("a file, not a folder")
    assert isinstance(case.rewrite(), Rewritten)
    assert case.rewrite() == case.rewrite()
    assert case.num_calls == 3


def with_slots(case: Case, **config: object) -> Case:
    write_tiny_model(case.path)
    case.configure(process="rewrites", calls=str(case.cache_folder.with_name("calls")), **config)
    return case


def test_a_graph_with_slots_is_rewritten_if_the_logits_of_a_chunk_are_large(tmp_path: Path) -> None:
    case = with_slots(Case(tmp_path), vocab_size=32_000)
    assert case.rewrite(prefill_chunk=64) == Kept(reason="its logits are small")
    assert isinstance(case.rewrite(prefill_chunk=512), Rewritten)
    assert case.num_calls == 1


@pytest.mark.parametrize("has_default", [False, True])
def test_a_graph_that_keeps_the_logits_that_are_wanted_stays_as_it_is(tmp_path: Path, *, has_default: bool) -> None:
    case = with_slots(Case(tmp_path), vocab_size=32_000)
    info = helper.make_tensor_value_info("num_logits_to_keep", TensorProto.INT64, [])
    case.edit(lambda model: model.graph.input.append(info))
    if has_default:
        default = numpy_helper.from_array(np.array(0), info.name)
        case.edit(lambda model: model.graph.initializer.append(default))
    assert case.rewrite() == Kept(reason="it computes only the logits that are wanted")
    assert case.num_calls == 0


def test_a_graph_that_quantizes_all_rows_with_one_scale_stays_as_it_is(tmp_path: Path) -> None:
    case = Case(tmp_path)
    node = helper.make_node("DynamicQuantizeLinear", ["x"], ["y", "scale", "zero"])
    case.edit(lambda model: model.graph.node.append(node))
    outcome = case.rewrite()
    assert isinstance(outcome, Kept)
    assert "one scale" in outcome.reason
    assert case.num_calls == 0
