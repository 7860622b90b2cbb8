"""Says what a folder or repository without an ONNX graph holds instead, and what to do."""

import re
from collections.abc import Iterable

_EXPORT = (
    "export them to ONNX, for example with `optimum-cli export onnx --task text-generation-with-past "
    "--model {source} OUTPUT` (pip install optimum-onnx)"
)
_FORMATS = (
    (r"\.gguf$", "holds a GGUF file, the format of llama.cpp, and no .onnx file; serve an ONNX export of this model"),
    (r"\.safetensors$", f"holds safetensors weights and no .onnx file; {_EXPORT}"),
    (r"(^|/)(pytorch_model|consolidated)[^/]*\.(bin|pth?)$", f"holds PyTorch weights and no .onnx file; {_EXPORT}"),
    (r"\.ort$", "holds a model in ORT format and no .onnx file; serve the .onnx file that it was converted from"),
    ("", "has no .onnx file; --model needs an ONNX export, with its config.json and tokenizer.json"),
)
"""Patterns of file names, and what a folder that holds such a file is, the most telling first."""


def absence_of_graphs(files: Iterable[str], *, source: str) -> str:
    """Returns the sentence for a folder or repository whose `files` include no .onnx file."""
    names = ["", *files]
    said = next(text for pattern, text in _FORMATS if any(re.search(pattern, name) for name in names))
    return f"{source} {said.format(source=source)}"
