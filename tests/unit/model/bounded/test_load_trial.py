"""A graph that takes much memory or never ends is rejected in one sentence, without harm to this process."""

import re
import resource
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path

import onnx
import pytest
from onnx import helper

from onward_server.errors import ModelFolderError
from onward_server.model.bounded import load_trial
from onward_server.model.bounded.load_trial import LoadTrial
from onward_server.model.bounded.process import Limits, run_bounded
from onward_server.model.exporting.precision import PRECISIONS, Precision
from onward_server.model.loader import LoadedModel, load_model
from onward_server.model.onnx_session import ExecutionProvider, SessionOptions
from onward_server.model.source import onnx_file
from onward_server.model.source.folder import ModelFolder
from onward_server.model.source.onnx_file import OnnxFile
from onward_server.model.source.plain_graph import is_plain
from testing.tiny_model import write_tiny_model
from tests.exported_decoders import write_decoder_folder
from tests.graph_bombs import GROWING, MEMORY_BOMBS, TIME_BOMBS, add_to_logits, write_bomb


def load(folder: Path) -> LoadedModel:
    options = SessionOptions(execution_provider=ExecutionProvider.CPU, num_threads=1, spinning=False)
    return load_model(ModelFolder.read(folder), options, num_slots=1, max_context_length=64, prefill_chunk=16)


@pytest.fixture
def trials(monkeypatch: pytest.MonkeyPatch) -> list[Limits]:
    """The limits of the trials that are made."""
    made: list[Limits] = []

    def run(module: str, arguments: list[str], limits: Limits, *, data: bytes) -> bytes:
        made.append(limits)
        return run_bounded(module, arguments, limits, data=data)

    monkeypatch.setattr(load_trial, "run_bounded", run)
    return made


@pytest.mark.parametrize("name", MEMORY_BOMBS)
def test_a_graph_that_takes_much_memory_is_rejected(tmp_path: Path, name: str) -> None:
    """Loading it took gigabytes, or ended the server."""
    folder = write_bomb(tmp_path / "tiny", MEMORY_BOMBS[name])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(
        ModelFolderError, match=r"takes more than 5\d\d MiB of memory; its weights have \d\.\d MiB; export"
    ):
        load(folder)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10


@pytest.mark.parametrize("name", TIME_BOMBS)
def test_a_graph_that_takes_much_time_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Loading it never ended."""
    monkeypatch.setattr(load_trial, "_BASE_S", 0)
    folder = write_bomb(tmp_path / "tiny", TIME_BOMBS[name])
    with pytest.raises(
        ModelFolderError, match=r"model\.onnx is not loaded, .* it takes more than 0 s of processor time"
    ):
        load(folder)


def test_a_graph_of_countless_nodes_is_rejected_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_file, "_MAX_FIELDS", 10_000)
    node = helper.make_node("Neg", ["x"], ["x"])
    path = tmp_path / "model.onnx"
    path.write_bytes(onnx.ModelProto(graph=onnx.GraphProto(node=[node] * 4000)).SerializeToString())
    with pytest.raises(ModelFolderError, match=r"model\.onnx has more than 10,000 fields, besides its weights"):
        OnnxFile.read(path)


def test_a_graph_of_countless_inputs_is_rejected_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Matching 200,000 caches to each other took a minute."""
    monkeypatch.setattr(onnx_file, "_MAX_INTERFACE", 100)
    values = [helper.make_tensor_value_info(f"past_key_values.{index}.key", 1, [1]) for index in range(101)]
    path = tmp_path / "model.onnx"
    path.write_bytes(onnx.ModelProto(graph=onnx.GraphProto(input=values)).SerializeToString())
    with pytest.raises(ModelFolderError, match=r"model\.onnx has more than 100 inputs or outputs"):
        OnnxFile.read(path)


def test_a_plain_graph_is_loaded_without_a_trial(tmp_path: Path, trials: list[Limits]) -> None:
    load(write_tiny_model(tmp_path / "tiny"))
    assert not trials


@pytest.mark.parametrize("bits", [4, 8])
def test_a_quantized_graph_is_plain(tmp_path: Path, bits: int) -> None:
    folder = write_tiny_model(tmp_path / "tiny", bits=bits)  # pyright: ignore[reportArgumentType]
    assert is_plain(OnnxFile.read(folder / "model.onnx"))


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(
    "name", ["llama", "norms of query and key heads", "layer norms, learned positions, a plain MLP"]
)
def test_an_export_is_plain(tmp_path: Path, name: str, precision: Precision) -> None:
    folder = write_decoder_folder(tmp_path, name, precision)
    assert is_plain(OnnxFile.read(folder / "model.onnx"))


@pytest.mark.parametrize("attribute", ["transA", "transBatchA", "transBatchB"])
def test_a_product_that_moves_the_axes_of_its_rows_is_not_plain(tmp_path: Path, attribute: str) -> None:
    """Its result may have a row for each column of a weight."""

    def turn(model: onnx.ModelProto) -> None:
        product = next(node for node in model.graph.node if node.op_type == "MatMul")
        product.op_type, product.domain = "FusedMatMul", "com.microsoft"
        product.attribute.append(helper.make_attribute(attribute, value))

    value = 0
    assert is_plain(OnnxFile.read(write_bomb(tmp_path / "rows", turn) / "model.onnx"))
    value = 1
    assert not is_plain(OnnxFile.read(write_bomb(tmp_path / "columns", turn) / "model.onnx"))


def pruned_head(model: onnx.ModelProto, *, after: str | None = None) -> None:
    """The logits of the last token alone, as exports with `prune_lm_head` have them."""
    graph = model.graph
    (head,) = (node for node in graph.node if "logits" in node.output)
    hidden, head.input[0] = head.input[0], "last"
    position = helper.make_tensor("position", onnx.TensorProto.INT64, [], [-1])
    graph.initializer.extend([position, helper.make_tensor("axis", onnx.TensorProto.INT64, [1], [1])])
    nodes = [
        helper.make_node("Gather", [hidden, "position"], ["row"], axis=1),
        helper.make_node("Unsqueeze", ["row", "axis"], ["last"]),
    ]
    graph.node.extend([*nodes, *([] if after is None else [helper.make_node(after, ["last", "last"], ["squares"])])])


def test_a_graph_for_the_last_logits_is_plain_if_nothing_but_the_head_reads_the_axis_that_is_put_back(
    tmp_path: Path,
) -> None:
    """Its weights were loaded twice."""
    for name, edit, is_allowed in (
        ("pruned", pruned_head, True),
        ("added", partial(pruned_head, after="Add"), False),
    ):
        assert is_plain(OnnxFile.read(write_bomb(tmp_path / name, edit) / "model.onnx")) == is_allowed


@pytest.mark.parametrize("op_type", ["Reshape", "Unsqueeze", "If"])
def test_a_long_chain_of_nodes_is_checked_at_once(tmp_path: Path, op_type: str) -> None:
    """Each node was followed to the end of the chain, which took a minute."""

    def chain(model: onnx.ModelProto) -> None:
        pruned_head(model)
        names = ["row", *(f"chain/{number}" for number in range(15_000))]
        model.graph.node.extend(helper.make_node(op_type, [a, "axis"], [b]) for a, b in pairwise(names))

    file = OnnxFile.read(write_bomb(tmp_path / "tiny", chain) / "model.onnx")
    started_s = time.process_time()
    is_plain(file)
    assert time.process_time() - started_s < 5


def test_a_graph_that_is_not_plain_is_tried_once_and_served(tmp_path: Path, trials: list[Limits]) -> None:
    assert load(write_tiny_model(tmp_path / "tiny", layout="growing")).layout == "growing"
    (limits,) = trials
    assert limits.processor_s < 10


def test_a_graph_that_onnx_runtime_cannot_load_is_reported_as_in_the_server(tmp_path: Path) -> None:
    def misspell(model: onnx.ModelProto) -> None:
        model.graph.node[0].op_type = "NoSuchOperator"

    with pytest.raises(ModelFolderError, match=re.escape("model.onnx cannot be loaded: ") + ".*NoSuchOperator"):
        load(write_bomb(tmp_path / "tiny", misspell))


def test_a_graph_that_the_cpu_cannot_load_passes_the_trial_if_it_will_run_elsewhere(tmp_path: Path) -> None:
    def misspell(model: onnx.ModelProto) -> None:
        model.graph.node[0].op_type = "NoSuchOperator"

    folder = ModelFolder.read(write_bomb(tmp_path / "tiny", misspell))
    LoadTrial(folder, None, on_cpu=False).require_passed()
    with pytest.raises(ModelFolderError, match="NoSuchOperator"):
        LoadTrial(folder, None, on_cpu=True).require_passed()


def test_an_error_of_a_run_has_one_line(tmp_path: Path) -> None:
    def widen(model: onnx.ModelProto) -> None:
        mask = next(value for value in model.graph.input if value.name == "attention_mask")
        mask.type.tensor_type.shape.dim[1].dim_value = 5

    with pytest.raises(
        ModelFolderError, match=r"its first run failed: the run failed: .* Got: .* Expected: 5"
    ) as rejection:
        load(write_bomb(tmp_path / "tiny", widen))
    assert "\n" not in str(rejection.value)


def squares(model: onnx.ModelProto) -> None:
    """What is multiplied has its axes changed before."""
    nodes = [helper.make_node("Reshape", ["bomb/x", "bomb/shape"], ["bomb/column"])]
    nodes.append(helper.make_node("Mul", ["bomb/column", "bomb/x"], ["bomb"]))
    add_to_logits(model, nodes, "bomb", **{"bomb/x": [1.0, 2.0], "bomb/shape": [2, 1]})


def many_positions(model: onnx.ModelProto) -> None:
    nodes = [helper.make_node("Gather", ["bomb/table", "bomb/positions"], ["bomb"])]
    add_to_logits(model, nodes, "bomb", **{"bomb/table": [[1.0] * 100], "bomb/positions": [0] * 9})


def product_of_constants(model: onnx.ModelProto) -> None:
    nodes = [helper.make_node("MatMul", ["bomb/x", "bomb/x"], ["bomb"])]
    add_to_logits(model, nodes, "bomb", **{"bomb/x": [[1.0]]})


@pytest.mark.parametrize(
    "edit",
    [*MEMORY_BOMBS.values(), *TIME_BOMBS.values(), *GROWING.values(), squares, many_positions, product_of_constants],
)
def test_a_graph_that_may_grow_is_not_plain(tmp_path: Path, edit: Callable[[onnx.ModelProto], None]) -> None:
    assert not is_plain(OnnxFile.read(write_bomb(tmp_path / "tiny", edit) / "model.onnx"))


def test_an_addition_that_cannot_grow_leaves_a_graph_plain(tmp_path: Path) -> None:
    """So the other tests see what their additions do, and not the nodes around them."""

    def add_the_prompt(model: onnx.ModelProto) -> None:
        add_to_logits(model, [helper.make_node("Cast", ["input_ids"], ["bomb"], to=1)], "bomb")

    assert is_plain(OnnxFile.read(write_bomb(tmp_path / "tiny", add_the_prompt) / "model.onnx"))
