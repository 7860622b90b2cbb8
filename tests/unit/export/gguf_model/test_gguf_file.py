import os
import struct
from pathlib import Path

import numpy as np
import pytest
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

from onward_server.errors import ExportError
from onward_server.export.gguf_model.block_types import BLOCK_CODECS
from onward_server.export.gguf_model.gguf_file import GgufFile, is_later_part, open_gguf
from onward_server.export.gguf_model.gguf_tensor import require_readable
from onward_server.export.tensors import read_floats
from tests.gguf_files import SCALES, Stored, random_blocks, write_gguf

METADATA = {
    "general.architecture": "llama",
    "llama.block_count": 2,
    "llama.rope.freq_base": 1e-5,
    "llama.flag": True,
    "llama.layers": [1, 2, 3],
    "tokens": ["a", "", "é"],
}
MATRIX = np.arange(12, dtype=np.float32).reshape(3, 4)


def written(folder: Path, **values: object) -> Path:
    blocks = random_blocks(GGMLQuantizationType.Q4_K, 4, 512, seed=3)
    tensors = {
        "matrix.weight": MATRIX,
        "halves.weight": MATRIX.astype(np.float16),
        "blocks.weight": (GGMLQuantizationType.Q4_K, blocks),
    }
    return write_gguf(folder / "model.gguf", METADATA | values, tensors)


def floats(
    file: GgufFile, name: str, start: int = 0, stop: int | None = None
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return read_floats(require_readable(file.tensors[name]), start, stop)


def test_metadata_and_tensors_are_read(tmp_path: Path) -> None:
    file = open_gguf(written(tmp_path))

    assert file.metadata.text("general.architecture") == "llama"
    assert file.metadata.size("llama.block_count") == 2
    assert file.metadata.number("llama.rope.freq_base") == 1e-5
    assert file.metadata.optional_flag("llama.flag") is True
    assert np.array_equal(file.metadata.values["llama.layers"], [1, 2, 3])
    assert file.metadata.values["tokens"] == ["a", "", "é"]
    assert {name: tensor.shape for name, tensor in file.tensors.items()} == {
        "matrix.weight": (3, 4),
        "halves.weight": (3, 4),
        "blocks.weight": (4, 512),
    }
    np.testing.assert_array_equal(floats(file, "matrix.weight"), MATRIX)
    np.testing.assert_array_equal(floats(file, "halves.weight", 1, 3), MATRIX[1:])


def test_a_range_of_rows_is_the_same_as_in_the_whole_tensor(tmp_path: Path) -> None:
    file = open_gguf(written(tmp_path))

    np.testing.assert_array_equal(floats(file, "blocks.weight", 1, 3), floats(file, "blocks.weight")[1:3])


@pytest.mark.parametrize("alignment", [8, 64, 4096])
def test_the_alignment_of_the_file_is_kept(tmp_path: Path, alignment: int) -> None:
    path = write_gguf(tmp_path / "model.gguf", METADATA, {"a": MATRIX, "b": MATRIX + 1}, alignment=alignment)

    file = open_gguf(path)

    assert all(tensor.start % alignment == 0 for tensor in file.tensors.values())
    np.testing.assert_array_equal(floats(file, "b"), MATRIX + 1)


def test_a_file_that_is_not_gguf_is_named(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"PK\x03\x04" + bytes(100))

    with pytest.raises(ExportError, match=r"model\.gguf: not a GGUF file: it starts with b'PK"):
        open_gguf(path)


def test_a_git_lfs_pointer_is_named(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n")

    with pytest.raises(ExportError, match=r"Git LFS pointer"):
        open_gguf(path)


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe", "empty"])
def test_what_is_not_a_file_with_contents_is_named(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "model.gguf"
    match kind:
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "empty":
            path.touch()
        case _:
            pass

    with pytest.raises(ExportError, match=r"model\.gguf"):
        open_gguf(path)


def test_a_big_endian_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF" + struct.pack(">IQQ", 3, 0, 0))

    with pytest.raises(ExportError, match="big-endian"):
        open_gguf(path)


def test_an_old_version_is_named(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF" + struct.pack("<III", 1, 0, 0))

    with pytest.raises(ExportError, match="version 1; versions 2 and 3 are supported"):
        open_gguf(path)


def test_every_truncated_file_is_rejected(tmp_path: Path) -> None:
    data = written(tmp_path).read_bytes()
    path = tmp_path / "part.gguf"
    for size in [*range(1, 700, 7), *range(700, len(data), 97), len(data) - 1]:
        path.write_bytes(data[:size])
        with pytest.raises(ExportError, match=r"truncated|not a GGUF file"):
            open_gguf(path)


def test_a_file_that_shrinks_after_it_was_opened_is_named(tmp_path: Path) -> None:
    path = written(tmp_path)
    file = open_gguf(path)
    os.truncate(path, 200)

    with pytest.raises(ExportError, match=r"was truncated while blocks\.weight was read"):
        floats(file, "blocks.weight")


@pytest.mark.parametrize("stored", [np.array([[1, np.nan]], np.float32), np.array([[np.inf, 1]], np.float16)])
def test_values_that_are_not_finite_are_named(tmp_path: Path, stored: Stored) -> None:
    file = open_gguf(write_gguf(tmp_path / "model.gguf", METADATA, {"bad.weight": stored}))

    with pytest.raises(ExportError, match=r"bad\.weight has values that are not finite"):
        floats(file, "bad.weight")


@pytest.mark.parametrize("block_type", BLOCK_CODECS, ids=lambda block_type: block_type.name)
def test_any_bits_are_decoded_or_rejected(tmp_path: Path, block_type: GGMLQuantizationType) -> None:
    _, num_bytes = GGML_QUANT_SIZES[block_type]
    random = np.random.default_rng(5).integers(0, 256, (64, num_bytes), dtype=np.uint8)
    for blocks in (random, np.zeros_like(random), np.full_like(random, 255), np.full_like(random, 0x7C)):
        path = write_gguf(tmp_path / "model.gguf", METADATA, {"bad.weight": (block_type, blocks)})
        try:
            assert np.isfinite(floats(open_gguf(path), "bad.weight")).all()
        except ExportError as error:
            assert "bad.weight has values that are not finite" in str(error)  # noqa: PT017  either is right


def test_a_double_outside_the_range_of_float32_is_named(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "model.gguf", METADATA, {"bad.weight": np.array([[1e300, 1]], np.float64)})

    with pytest.raises(ExportError, match=r"bad\.weight has values that are not finite"):
        floats(open_gguf(path), "bad.weight")


@pytest.mark.parametrize("position", SCALES["Q4_1"])
def test_blocks_whose_scale_or_minimum_is_not_finite_are_named(tmp_path: Path, position: int) -> None:
    blocks = random_blocks(GGMLQuantizationType.Q4_1, 1, 64, seed=1)
    blocks[0, position : position + 2] = np.array([np.inf], "<f2").view(np.uint8)
    file = open_gguf(write_gguf(tmp_path / "model.gguf", METADATA, {"bad.weight": (GGMLQuantizationType.Q4_1, blocks)}))

    with pytest.raises(ExportError, match=r"bad\.weight has values that are not finite"):
        floats(file, "bad.weight")


def test_only_export_errors_come_out_of_a_damaged_file(tmp_path: Path) -> None:
    """Random bytes of the header are changed; the file opens, or is rejected without taking long or much memory."""
    data = written(tmp_path).read_bytes()
    random = np.random.default_rng(11)
    path = tmp_path / "damaged.gguf"
    outcomes: list[bool] = []
    for _ in range(500):
        damaged = bytearray(data)
        for position in random.integers(0, 420, int(random.integers(1, 4))):
            damaged[position] = int(random.choice([0, 1, 127, 128, 255, int(random.integers(256))]))
        path.write_bytes(damaged)
        try:
            file = open_gguf(path)
        except ExportError:
            outcomes.append(False)
            continue
        for tensor in file.tensors.values():
            assert 0 < tensor.start <= tensor.start + tensor.num_bytes <= len(data)
        outcomes.append(True)
    assert 30 < sum(outcomes) < 470


def header(num_tensors: int, num_entries: int, rest: bytes = b"") -> bytes:
    return b"GGUF" + struct.pack("<IQQ", 3, num_tensors, num_entries) + rest


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def tensor(name: str, dims: list[int], block_type: int = 0, offset: int = 0) -> bytes:
    return text(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, block_type, offset)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (header(2**63, 0), "100,000 are allowed"),
        (header(0, 2**40), "100,000 are allowed"),
        (header(0, 1, struct.pack("<Q", 2**62)), "truncated"),
        (header(0, 1, text("k") + struct.pack("<I", 99)), "k: 99 is not a type"),
        (header(0, 1, text("k") + struct.pack("<IIQ", 9, 9, 1)), "arrays of arrays"),
        (header(0, 1, text("k") + struct.pack("<IIQ", 9, 8, 2**61)), "truncated"),
        (header(0, 1, text("k") + struct.pack("<IIQ", 9, 12, 2**61)), "truncated"),
        (header(0, 2, 2 * (text("k") + struct.pack("<IB", 0, 7))), "'k' twice"),
        (header(0, 1, text("k") + struct.pack("<IQ", 8, 2) + b"\xff\xfe"), "not UTF-8"),
        (header(1, 0, tensor("t", [])), "0 dimensions"),
        (header(1, 0, tensor("t", [1] * 5)), "5 dimensions"),
        (header(1, 0, tensor("t", [0, 4])), "sizes must be above 0"),
        (header(1, 0, tensor("t", [2**40, 2**40])), "truncated"),
        (header(1, 0, tensor("t", [2**63, 2, 2**63])), "truncated"),
        (header(1, 0, tensor("t", [48], block_type=2)), "multiple of 32"),
        (header(1, 0, tensor("t", [4], block_type=77)), "block type 77"),
        (header(1, 0, tensor("t", [4], offset=3)), "not a multiple of 32"),
        (header(1, 0, tensor("t", [4], offset=2**63)), "truncated"),
        (header(2, 0, tensor("a", [16]) + tensor("b", [16], offset=32)) + bytes(200), "b overlaps"),
        (header(2, 0, tensor("a", [8]) + tensor("a", [8], offset=32)) + bytes(200), "same name"),
    ],
)
def test_a_header_that_cannot_be_right_is_rejected_at_once(tmp_path: Path, data: bytes, problem: str) -> None:
    path = tmp_path / "hostile.gguf"
    path.write_bytes(data)

    with pytest.raises(ExportError, match=problem):
        open_gguf(path)


def test_a_header_of_more_than_64_mib_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "hostile.gguf"
    path.write_bytes(header(0, 1, text("k") + struct.pack("<IQ", 8, 2**30)))
    os.truncate(path, 2**31)

    with pytest.raises(ExportError, match="header has 1,073,741,869 bytes or more; at most 67,108,864 are allowed"):
        open_gguf(path)


def split(folder: Path, *, count: int = 2) -> list[Path]:
    """The parts of a file with a tensor in each."""
    return [
        write_gguf(
            folder / f"model-{number + 1:05d}-of-{count:05d}.gguf",
            {"split.no": number, "split.count": count, "split.tensors.count": count}
            | (METADATA if number == 0 else {}),
            {f"t{number}": MATRIX + number},
        )
        for number in range(count)
    ]


def test_the_parts_of_a_split_file_are_read_together(tmp_path: Path) -> None:
    file = open_gguf(split(tmp_path, count=3)[0])

    assert file.metadata.size("llama.block_count") == 2
    for number in range(3):
        np.testing.assert_array_equal(floats(file, f"t{number}"), MATRIX + number)


def test_another_part_of_a_split_file_names_the_first(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"is part 2 of 2; name model-00001-of-00002\.gguf"):
        open_gguf(split(tmp_path)[1])


def test_a_missing_part_of_a_split_file_is_named(tmp_path: Path) -> None:
    parts = split(tmp_path)
    parts[1].unlink()

    with pytest.raises(ExportError, match=r"model-00002-of-00002\.gguf does not exist"):
        open_gguf(parts[0])


def test_a_renamed_part_of_a_split_file_is_named(tmp_path: Path) -> None:
    renamed = split(tmp_path)[0].rename(tmp_path / "model.gguf")

    with pytest.raises(ExportError, match="one of 2 parts of a file; give the parts their original names"):
        open_gguf(renamed)


def test_parts_that_are_mixed_up_are_named(tmp_path: Path) -> None:
    parts = split(tmp_path)
    parts[1].write_bytes(parts[0].read_bytes())

    with pytest.raises(ExportError, match="a tensor is in several parts"):
        open_gguf(parts[0])


def test_the_first_part_of_a_split_file_is_found_by_its_name(tmp_path: Path) -> None:
    names = [path.name for path in [*split(tmp_path, count=3), written(tmp_path)]]

    assert [name for name in names if not is_later_part(name)] == [names[0], "model.gguf"]
