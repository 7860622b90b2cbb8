import re
import struct
from collections.abc import Mapping
from pathlib import Path
from random import Random

import numpy as np
import pytest

from onward_server.errors import ExportError, ModelFolderError
from onward_server.export.checkpoint.safetensors_file import read_safetensors
from onward_server.export.checkpoint.stored_tensor import Transposed
from tests.checkpoint_files import entry, file_of, safetensors

FOUR = np.arange(4, dtype=np.float32)


@pytest.mark.parametrize("dtype", ["f8", "f4", "f2"])
def test_each_type_of_floats_is_read_a_range_of_rows_at_a_time(dtype: str, tmp_path: Path) -> None:
    first = np.arange(6).reshape(2, 3).astype(f"<{dtype}")
    second = np.linspace(-1, 1, 20).reshape(5, 4).astype(f"<{dtype}")
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors({"first": first, "second": second}))
    tensor = read_safetensors(path)["second"]
    assert tensor.shape == (5, 4)
    for start, stop in [(0, 5), (1, 3), (4, 5), (2, 2)]:
        rows = tensor.read(start, stop)
        assert rows.dtype == np.float32
        np.testing.assert_array_equal(rows, second[start:stop].astype(np.float32))


def test_a_matrix_that_is_stored_transposed_is_read_a_range_of_columns_at_a_time(tmp_path: Path) -> None:
    stored = np.arange(35, dtype=np.float16).reshape(5, 7)
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors({"first": FOUR, "x": stored}))
    tensor = Transposed(read_safetensors(path)["x"])
    assert tensor.shape == (7, 5)
    for start, stop in [(0, 7), (2, 3), (4, 7), (3, 3)]:
        np.testing.assert_array_equal(tensor.read(start, stop), stored.T[start:stop])


def test_bfloat16_keeps_its_exact_value(tmp_path: Path) -> None:
    values = np.array([1.0, -2.5, 3.140625, 1e-38, 0.0], np.float32)
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors({"x": values}, "BF16"))
    expected = [struct.unpack("<f", b"\0\0" + struct.pack("<f", value)[2:])[0] for value in values]
    assert read_safetensors(path)["x"].read(0, 5).tolist() == expected


def test_a_vector_and_an_empty_matrix_are_read(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors({"empty": np.zeros((0, 7), np.float32), "vector": FOUR}))
    tensors = read_safetensors(path)
    assert tensors["empty"].read(0, 0).shape == (0, 7)
    assert tensors["vector"].read(1, 3).tolist() == [1, 2]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_values_that_are_not_finite_in_float32_are_rejected_when_they_are_read(value: float, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors({"x": np.array([1.0, value, 2.0])}))
    tensor = read_safetensors(path)["x"]
    assert tensor.read(0, 1).tolist() == [1.0]
    with pytest.raises(ExportError, match="x has values that are not finite"):
        tensor.read(0, 3)


BAD_HEADERS: Mapping[str, tuple[object, bytes, str]] = {
    "not-json": (b"{not json", b"", "not valid JSON"),
    "not-utf8": (b'{"\xff": 1}', b"", "not valid JSON"),
    "a-list": ([], b"", "not a JSON object"),
    "deep": (b'{"x":' * 5000 + b"1" + b"}" * 5000, b"", "not valid JSON"),
    "repeated-key": (b'{"x": {}, "x": {}}', b"", "key 'x' is repeated"),
    "entry-is-a-number": ({"x": 5}, b"", "x has dtype None; known are BF16"),
    "unknown-dtype": ({"x": entry("F128", [1], 0, 16)}, bytes(16), "x has dtype 'F128'"),
    "shape-is-text": ({"x": entry("F32", "1", 0, 4)}, bytes(4), "x has shape '1'"),
    "negative-size": ({"x": entry("F32", [-1, -1], 0, 4)}, bytes(4), r"x has shape \[-1, -1\]"),
    "size-is-true": ({"x": entry("F32", [True], 0, 4)}, bytes(4), r"x has shape \[True\]"),
    "size-is-a-fraction": ({"x": entry("F32", [1.0], 0, 4)}, bytes(4), r"x has shape \[1.0\]"),
    "rank-17": ({"x": entry("F32", [1] * 17, 0, 4)}, bytes(4), "a list of at most 16 sizes"),
    "huge-shape": ({"x": entry("F32", [2**62, 2**62], 0, 4)}, bytes(4), "4 bytes, which do not fit shape"),
    "end-before-start": ({"x": entry("F32", [1], 4, 0)}, bytes(4), "must be a start and an end"),
    "negative-start": ({"x": entry("F32", [1], -4, 0)}, bytes(4), "must be a start and an end"),
    "no-offsets": ({"x": {"dtype": "F32", "shape": [1]}}, bytes(4), "must be a start and an end"),
    "wrong-size": ({"x": entry("F32", [2], 0, 4)}, bytes(4), r"x has 4 bytes, which do not fit shape \[2\] of F32"),
    "past-the-end": ({"x": entry("F32", [2], 0, 8)}, bytes(4), "is truncated: its tensors have 8 bytes"),
    "bytes-left": ({"x": entry("F32", [1], 0, 4)}, bytes(8), "has 4 bytes after its last tensor"),
    "overlap": ({"x": entry("F32", [2], 0, 8), "y": entry("F32", [2], 4, 12)}, bytes(12), "y overlaps"),
    "gap": ({"x": entry("F32", [1], 0, 4), "y": entry("F32", [1], 8, 12)}, bytes(12), "y does not follow"),
    "late-start": ({"x": entry("F32", [1], 4, 8)}, bytes(8), "x does not follow"),
}


@pytest.mark.parametrize("name", BAD_HEADERS)
def test_a_malformed_file_is_rejected(name: str, tmp_path: Path) -> None:
    header, data, message = BAD_HEADERS[name]
    path = tmp_path / "model.safetensors"
    path.write_bytes(file_of(header, data))
    with pytest.raises(ExportError, match=message) as caught:
        read_safetensors(path)
    assert str(path) in str(caught.value)


def test_a_header_that_is_longer_than_the_file_or_the_limit_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"\xff" * 8 + b"{}")
    with pytest.raises(ExportError, match="not a safetensors file, or is truncated"):
        read_safetensors(path)
    path.write_bytes(b"abc")
    with pytest.raises(ExportError, match="not a safetensors file, or is truncated"):
        read_safetensors(path)
    with path.open("wb") as file:  # sparse
        file.write((64 << 20).to_bytes(8, "little"))
        file.truncate(65 << 20)
    with pytest.raises(ExportError, match="header of 67,108,864 bytes, more than the limit"):
        read_safetensors(path)


@pytest.mark.parametrize("seed", range(40))
def test_a_file_that_is_cut_or_altered_is_rejected_or_read_within_its_bounds(seed: int, tmp_path: Path) -> None:
    random = Random(seed)
    whole = bytearray(safetensors({"a": FOUR, "b": np.ones((3, 5), np.float16), "c": np.zeros(2, np.int64)}))
    if random.random() < 0.5:
        del whole[random.randrange(1, len(whole)) :]
    else:
        header_end = 8 + int.from_bytes(whole[:8], "little")
        whole[random.randrange(header_end)] = random.randrange(32, 127)
    path = tmp_path / "model.safetensors"
    path.write_bytes(whole)
    try:
        tensors = read_safetensors(path)
    except ExportError:
        return
    for tensor in tensors.values():
        assert tensor.offset + tensor.num_bytes <= len(whole)


def test_a_git_lfs_pointer_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
    with pytest.raises(ModelFolderError, match="git lfs pull"):
        read_safetensors(path)


def test_a_file_that_is_truncated_while_it_is_read_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors({"x": FOUR}))
    tensor = read_safetensors(path)["x"]
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 4)
    assert tensor.read(0, 3).tolist() == [0, 1, 2]
    with pytest.raises(ExportError, match=re.escape(f"{path} was truncated while x was read")):
        tensor.read(0, 4)
