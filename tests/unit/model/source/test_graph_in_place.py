"""Graphs whose weights stay in their file: which bytes they refer to, and that ONNX Runtime reads them."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, external_data_helper, helper, numpy_helper

from onward_server.errors import ModelFolderError
from onward_server.model.onnx_session import Binding, OnnxSession, SessionOptions
from onward_server.model.source.graph_in_place import GraphInPlace
from onward_server.model.source.onnx_file import OnnxFile

_TABLE = np.random.default_rng(0).normal(size=(64, 32)).astype(np.float32)
_MATRIX = np.random.default_rng(1).normal(size=(32, 48)).astype(np.float32)
_BIAS = np.ones(48, np.float32)


def write_model(path: Path, *, doc: str = "", external: str | None = None) -> Path:
    """Looks up rows of a table and multiplies them; `external` names the file of the matrix, and the table is embedded.

    The length of `doc` shifts the weights in the file.
    """
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["table", "ids"], ["rows"]),
            helper.make_node("MatMul", ["rows", "matrix"], ["product"]),
            helper.make_node("Add", ["product", "bias"], ["logits"]),
        ],
        "graph",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["n"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 48])],
        [
            numpy_helper.from_array(value, name)
            for name, value in {"table": _TABLE, "matrix": _MATRIX, "bias": _BIAS}.items()
        ],
        doc_string=doc,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9, producer_name=doc)
    if external:
        external_data_helper.set_external_data(model.graph.initializer[1], external, offset=0, length=_MATRIX.nbytes)
        model.graph.initializer[1].ClearField("raw_data")
        (path.parent / external).write_bytes(_MATRIX.tobytes())
    path.write_bytes(model.SerializeToString())
    return path


def in_place(path: Path) -> GraphInPlace:
    return GraphInPlace.read(path, {tensor.location for tensor in OnnxFile.read(path).external_tensors})


def logits(path: Path, graph: GraphInPlace | None) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    session = OnnxSession(path, SessionOptions(num_threads=1), graph)
    binding = Binding(session)
    ids, found = np.arange(0, 60, 7), np.empty((9, 48), np.float32)
    binding.bind_host_input("ids", ids)
    binding.bind_host_output("logits", found)
    session.run(binding)
    return found


def data_of(graph: GraphInPlace) -> dict[str, bytes]:
    """The bytes to which each external initializer refers."""
    found: dict[str, bytes] = {}
    for tensor in onnx.load_model_from_string(graph.model).graph.initializer:
        if tensor.data_location == TensorProto.EXTERNAL:
            entries = {entry.key: entry.value for entry in tensor.external_data}
            content = (graph.folder / entries["location"]).read_bytes()
            found[tensor.name] = content[int(entries["offset"]) :][: int(entries["length"])]
    return found


def test_large_weights_stay_in_the_file_and_small_ones_in_the_graph(tmp_path: Path) -> None:
    path = write_model(tmp_path / "model.onnx")
    graph = in_place(path)
    assert data_of(graph) == {"table": _TABLE.tobytes(), "matrix": _MATRIX.tobytes()}
    assert graph.num_embedded_bytes == _TABLE.nbytes + _MATRIX.nbytes
    assert len(graph.model) < 1024


def test_all_else_in_the_graph_is_kept(tmp_path: Path) -> None:
    path = write_model(tmp_path / "model.onnx", doc="a text with ümläuts")
    restored = onnx.load_model_from_string(in_place(path).model)
    external_data_helper.load_external_data_for_model(restored, str(tmp_path))
    for tensor in restored.graph.initializer:
        tensor.ClearField("data_location")  # which it sets to its default
    assert restored.SerializeToString(deterministic=True) == onnx.load_model_from_string(
        path.read_bytes()
    ).SerializeToString(deterministic=True)


@pytest.mark.parametrize("shift", range(8))
def test_the_logits_are_the_same_at_any_alignment(tmp_path: Path, shift: int) -> None:
    path = write_model(tmp_path / "model.onnx", doc="x" * shift)
    assert np.array_equal(logits(path, in_place(path)), logits(path, None))


def test_weights_may_lie_in_the_file_and_beside_it(tmp_path: Path) -> None:
    path = write_model(tmp_path / "model.onnx", external="model.onnx_data")
    graph = in_place(path)
    assert data_of(graph) == {"table": _TABLE.tobytes(), "matrix": _MATRIX.tobytes()}
    assert (graph.num_embedded_bytes, graph.num_external) == (_TABLE.nbytes, 1)
    assert np.array_equal(logits(path, graph), logits(path, None))


def test_links_such_as_those_of_a_hugging_face_cache_are_resolved(tmp_path: Path) -> None:
    snapshot, blobs = tmp_path / "snapshots" / "0123" / "onnx", tmp_path / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    expected = logits(write_model(snapshot / "model.onnx", external="model.onnx_data"), None)
    for name, blob in {"model.onnx": "aaaa", "model.onnx_data": "bbbb"}.items():
        (snapshot / name).rename(blobs / blob)
        (snapshot / name).symlink_to(Path("../../../blobs", blob))
    graph = in_place(snapshot / "model.onnx")
    assert graph.folder == blobs.resolve()
    assert np.array_equal(logits(snapshot / "model.onnx", graph), expected)


def test_a_file_that_was_cut_after_its_check_is_reported(tmp_path: Path) -> None:
    path = write_model(tmp_path / "model.onnx")
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(ModelFolderError, match=r"model\.onnx has changed while it was read"):
        GraphInPlace.read(path, set())
