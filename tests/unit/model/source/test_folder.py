"""Bad model folders end with one clear sentence before anything opens their weights."""

import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onward_server.errors import ModelFolderError
from onward_server.model.source.digests import FileDigests
from onward_server.model.source.folder import ModelFolder
from onward_server.model.source.onnx_file import OnnxFile
from testing.tiny_model import write_tiny_model


def edit_json(path: Path, **changes: object) -> None:
    content: dict[str, object] = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps({**content, **changes}))


def point_weights_at(folder: Path, **entries: str) -> None:
    """Rewrites the external data entries of the first tensor that has any."""
    model = onnx.ModelProto.FromString((folder / "model.onnx").read_bytes())
    tensor = next(tensor for tensor in model.graph.initializer if tensor.external_data)
    for entry in tensor.external_data:
        entry.value = entries.get(entry.key, entry.value)
    (folder / "model.onnx").write_bytes(model.SerializeToString())


def remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def write(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(content)


def truncate(name: str, *, by: int) -> Callable[[Path], None]:
    return lambda folder: os.truncate(folder / name, (folder / name).stat().st_size - by)


def link_weights_outside(folder: Path) -> None:
    outside = folder.parent / "outside.bin"
    (folder / "weights.bin").rename(outside)
    (folder / "weights.bin").symlink_to(outside)


BAD_FOLDERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no model": (remove("model.onnx"), "has no model; --model needs an .onnx file"),
    "an empty model": (write("model.onnx", b""), "model.onnx is empty; download or copy it again"),
    "no ONNX at all": (write("model.onnx", b"hello, this is text"), "ONNX model"),
    "a truncated model": (truncate("model.onnx", by=7), "is truncated or not an ONNX model"),
    "no weights": (
        remove("weights.bin"),
        "weights.bin, with weights of model.onnx, is missing; download or copy it as well",
    ),
    "truncated weights": (truncate("weights.bin", by=4), "weights.bin, with weights of model.onnx, is truncated"),
    "a path upwards": (lambda f: point_weights_at(f, location="../outside.bin"), "must lie in its folder or below"),
    "an absolute path": (lambda f: point_weights_at(f, location="/etc/passwd"), "must lie in its folder or below"),
    "no path": (lambda f: point_weights_at(f, location=""), "must lie in its folder or below"),
    "a link outwards": (link_weights_outside, "outside.bin, outside the folder; replace it with the file itself"),
    "an offset beyond the end": (lambda f: point_weights_at(f, offset="999999999"), "is truncated"),
    "an offset that is no number": (lambda f: point_weights_at(f, offset="x"), "is truncated or not an ONNX model"),
    "a negative offset": (lambda f: point_weights_at(f, offset="-8"), "neither may be negative"),
    "a broken config.json": (write("config.json", b"{"), "is not valid JSON"),
    "a config.json that is a list": (write("config.json", b"[]"), "must hold a JSON object"),
    "a text as end of sequence": (lambda f: edit_json(f / "config.json", eos_token_id="x"), "is not a token id"),
    "a default out of range": (
        lambda f: edit_json(f / "generation_config.json", temperature=-1),
        "temperature = -1, outside",
    ),
}


@pytest.mark.parametrize("name", BAD_FOLDERS)
def test_a_bad_folder_is_rejected_with_a_reason(folder: Path, name: str) -> None:
    spoil, reason = BAD_FOLDERS[name]
    spoil(folder)
    with pytest.raises(ModelFolderError, match=reason):
        ModelFolder.read(folder)


def test_a_folder_that_does_not_exist_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(
        ModelFolderError, match="nothing does not exist; correct the path, or mount the folder that holds it"
    ):
        ModelFolder.read(tmp_path / "nothing")


def test_a_model_without_a_context_length_is_rejected(folder: Path) -> None:
    (folder / "genai_config.json").unlink()
    edit_json(folder / "config.json", max_position_embeddings=None)
    with pytest.raises(ModelFolderError, match="context length is unknown"):
        ModelFolder.read(folder)


def test_ends_of_sequence_come_from_every_file_that_names_one(folder: Path) -> None:
    (folder / "genai_config.json").unlink()
    edit_json(folder / "config.json", eos_token_id=5)
    edit_json(folder / "generation_config.json", eos_token_id=[6, 7])
    assert ModelFolder.read(folder).eos_token_ids == {5, 6, 7}


def test_defaults_come_from_generation_config(folder: Path) -> None:
    edit_json(folder / "generation_config.json", temperature=0.6, top_k=20, max_new_tokens=9, repetition_penalty=1.1)
    expected = {"temperature": 0.6, "top_k": 20, "max_tokens": 9, "repetition_penalty": 1.1}
    assert ModelFolder.read(folder).default_sampling == expected


def test_do_sample_false_means_greedy(folder: Path) -> None:
    edit_json(folder / "generation_config.json", do_sample=False, temperature=0.6)
    assert ModelFolder.read(folder).default_sampling["temperature"] == 0


@pytest.mark.parametrize(
    "name",
    ["weights.bin", "tokenizer.json", "config.json", "chat_template.jinja", "additional_chat_templates/tool_use.jinja"],
)
def test_the_fingerprint_changes_with_every_file_that_affects_the_output(folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    if name.endswith("jinja"):
        (folder / name).write_text("{{ messages }}")
    before = ModelFolder.read(folder).fingerprint(FileDigests(), "1.0")
    assert ModelFolder.read(folder).fingerprint(FileDigests(), "1.0") == before
    assert ModelFolder.read(folder).fingerprint(FileDigests(), "1.1") != before
    data = (folder / name).read_bytes()
    changed = data + b"\n" if name.endswith(("json", "jinja")) else bytes([data[0] ^ 1]) + data[1:]
    (folder / name).write_bytes(changed)
    assert ModelFolder.read(folder).fingerprint(FileDigests(), "1.0") != before


def test_external_data_is_found_wherever_an_onnx_file_can_hide_it(tmp_path: Path) -> None:
    def external(name: str) -> TensorProto:
        tensor = numpy_helper.from_array(np.zeros(4, np.float32), name)
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=f"{name}.bin")
        return tensor

    branch = helper.make_graph(
        [helper.make_node("Constant", [], ["y"], value=external("in_subgraph"))],
        "branch",
        [],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4])],
    )
    nodes = [
        helper.make_node("Constant", [], ["c"], value=external("in_attribute")),
        helper.make_node("If", ["condition"], ["z"], then_branch=branch, else_branch=branch),
    ]
    graph = helper.make_graph(nodes, "g", [], [], [external("in_initializer")])
    sparse = helper.make_sparse_tensor(external("in_values"), external("in_indices"), [8])
    graph.sparse_initializer.append(sparse)
    path = tmp_path / "model.onnx"
    path.write_bytes(helper.make_model(graph).SerializeToString())
    names = {"in_subgraph", "in_attribute", "in_initializer", "in_values", "in_indices"}
    onnx_file = OnnxFile.read(path)
    assert {tensor.location for tensor in onnx_file.external_tensors} == {f"{name}.bin" for name in names}
    assert onnx_file.readers("condition") == {"If"}


def test_a_truncated_or_altered_model_file_is_read_or_rejected_but_never_crashes(tmp_path: Path) -> None:
    source = (write_tiny_model(tmp_path / "tiny") / "model.onnx").read_bytes()
    generator = np.random.default_rng(0)
    path = tmp_path / "model.onnx"
    for _ in range(150):
        data = bytearray(source[: int(generator.integers(1, len(source)))])
        for position in generator.integers(0, len(data), 3):
            data[position] ^= 1 << int(generator.integers(8))
        path.write_bytes(data)
        with suppress(ModelFolderError):
            OnnxFile.read(path)


@pytest.mark.parametrize("name", ["model.onnx", "weights.bin", "config.json", "tokenizer.json", "chat_template.jinja"])
def test_a_git_lfs_pointer_is_named_for_what_it_is(folder: Path, name: str) -> None:
    """`git clone` without Git LFS leaves them. They were reported as truncated or malformed files."""
    (folder / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 134515008\n")

    with pytest.raises(
        ModelFolderError, match=rf"{name} is a Git LFS pointer, not the file itself; run `git lfs pull`"
    ):
        ModelFolder.read(folder)


@pytest.mark.parametrize("name", ["weights.bin", "config.json", "chat_template.jinja"])
def test_a_link_without_its_target_is_named(folder: Path, name: str) -> None:
    """A container that mounts a snapshot of Hugging Face's cache without the blobs has only such links."""
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to("blobs/1")

    with pytest.raises(ModelFolderError, match=rf"{name} is a link to blobs/1, which does not exist here; mount"):
        ModelFolder.read(folder)


@pytest.mark.parametrize("length", [1, 2**31, 10**300])
def test_a_context_length_that_no_run_can_have_is_rejected(folder: Path, length: int) -> None:
    """A length of 1 ended in a traceback, and memory was planned for a length of 10^300."""
    (folder / "genai_config.json").unlink()
    edit_json(folder / "config.json", max_position_embeddings=length)
    with pytest.raises(ModelFolderError, match=rf"max_position_embeddings is {length}, outside \[2, 2147483647\]"):
        ModelFolder.read(folder)
