"""Packs the exports of an architecture, so that the same files always give the same archive."""

import io
import lzma
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path

KEPT_OF_EXPORTS = ("model*.onnx", "model.onnx.data", "*config.json", "tokenizer.json")


def pack(folders: Iterable[tuple[str, Path]], archive: Path, kept: Sequence[str] = KEPT_OF_EXPORTS) -> None:
    """Writes a `.tar.xz` in which each folder has the name that is given with it.

    Args:
        folders: Names and folders.
        archive: The file to write.
        kept: Patterns of the names of the files in the folders that are packed.
    """
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for name, folder in folders:
            for file in sorted({file for pattern in kept for file in folder.rglob(pattern)}):
                data = file.read_bytes()
                member = tarfile.TarInfo(f"{name}/{file.relative_to(folder).as_posix()}")
                member.size, member.mode = len(data), 0o644
                tar.addfile(member, io.BytesIO(data))
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "lc": 0, "lp": 2, "pb": 2}]
    archive.write_bytes(lzma.compress(content.getvalue(), lzma.FORMAT_XZ, filters=filters))
