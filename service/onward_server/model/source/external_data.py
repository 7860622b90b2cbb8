"""Finds the files with the external data of a graph, and checks that they may be read and are complete.

Data must lie under the folder of the ONNX file, or under that of the file that it links to, which is ONNX Runtime's own
rule. In the Hugging Face cache, the graph and its data are links into one folder of blobs.
"""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from onward_server.errors import ModelFolderError
from onward_server.model.source.access import is_present, require_no_link_outside, require_readable_file
from onward_server.model.source.onnx_file import ExternalTensor


def external_files(onnx_path: Path, tensors: Sequence[ExternalTensor], *, folder: Path) -> frozenset[Path]:
    """The files of external tensors.

    Args:
        onnx_path: The file of the graph.
        tensors: Its external tensors.
        folder: The folder of the model, which may be above that of the graph.

    Raises:
        ModelFolderError: A file is missing, unreadable or truncated, or does not belong to the model.
    """
    ends: dict[str, int] = {}
    for tensor in tensors:
        length = tensor.num_bytes or 0
        if tensor.offset < 0 or length < 0:
            raise ModelFolderError(
                f"{onnx_path} refers to external data of {length:,} bytes at byte {tensor.offset:,} of "
                f"{tensor.location}; neither may be negative"
            )
        ends[tensor.location] = max(ends.get(tensor.location, 0), tensor.offset + length)
    return frozenset(_checked_file(onnx_path, location, end, folder) for location, end in ends.items())


def _checked_file(onnx_path: Path, location: str, end: int, folder: Path) -> Path:
    path = PurePosixPath(location)
    if not location or "\0" in location or path.is_absolute() or ".." in path.parts:
        raise ModelFolderError(
            f"{onnx_path} refers to external data at {location!r}, which must lie in its folder or below"
        )
    file = onnx_path.parent / path
    if not is_present(file):
        raise ModelFolderError(f"{file}, with weights of {onnx_path.name}, is missing; download or copy it as well")
    folders = {onnx_path.parent.resolve(), onnx_path.resolve().parent}
    if not any(file.resolve().is_relative_to(allowed) for allowed in folders):
        raise ModelFolderError(
            f"{file}, with weights of {onnx_path.name}, is a link to {file.resolve()}, outside the folder; replace it "
            "with the file itself"
        )
    require_readable_file(file)
    require_no_link_outside(file, folder)
    if end > (size := file.stat().st_size):
        raise ModelFolderError(
            f"{file}, with weights of {onnx_path.name}, is truncated: a tensor ends at byte {end:,}, but the file has "
            f"{size:,}; download or copy it again"
        )
    return file
