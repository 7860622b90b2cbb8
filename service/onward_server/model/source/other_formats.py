"""Names the format of a file or folder that holds no model that can be served, and says what to do."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from onward_server.errors import ModelFolderError
from onward_server.model.source.access import open_file

_SAVE_AS_SAFETENSORS = (
    'save it as safetensors, for example with `python -c "from transformers import AutoModelForCausalLM as M; '
    "M.from_pretrained('{source}').save_pretrained('OUTPUT')\"` (pip install transformers torch), copy its tokenizer, "
    "and serve OUTPUT"
)
_USE_ANOTHER = "serve its ONNX export, or its safetensors or GGUF files, which the server exports by itself"
_USE_THE_ORIGINAL = "serve the .onnx file that it was made from"
_CONVERT_TOKENIZER = (
    'convert it with `python -c "from transformers import AutoTokenizer as T; '
    "T.from_pretrained('{source}').save_pretrained('{output}')\"` (pip install transformers {libraries})"
)
_TOKENIZERS = (
    (r"^(tekken\.json|tokenizer\.model\.v\d+)$", "mistral-common"),
    (r"^(.*\.tiktoken|tiktoken\.model)$", "tiktoken"),
    (r"^(tokenizer|spiece|sentencepiece.*|.*\.sp)\.model$", "sentencepiece protobuf"),
    (r"^(vocab\.json|merges\.txt|vocab\.txt)$", ""),
)
"""Names of files of other tokenizers, and the packages that are needed to convert them."""
_START_BYTES = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class _Format:
    """A format other than ONNX."""

    what: str
    """With an article: `a GGUF file`."""
    files: str | None
    """Pattern of the names of its files; None: they have no typical name."""
    start: bytes | None
    """Pattern of the first bytes of its files; None: they have no typical start."""
    remedy: str


_FORMATS = (
    _Format(
        what="a GGUF file",
        files=r"\.gguf$",
        start=rb"GGUF",
        remedy="rename it so that it ends in .gguf if it is a language model; projectors (mmproj), adapters (lora) and "
        "statistics (imatrix) are not",
    ),
    _Format(
        what="a safetensors file",
        files=r"\.safetensors$",
        start=rb".{8}\{\s*\"",
        remedy="name the folder of a checkpoint, whose weights are in model.safetensors, or in the files that "
        "model.safetensors.index.json lists",
    ),
    _Format(
        what="a PyTorch file",
        files=r"(^|/)(pytorch_model|consolidated)[^/]*\.bin$|\.(pt|pth|ckpt|pt2)$",
        start=rb"\x80[\x02-\x05]|PK\x03\x04.{26}[^/]*/(data\.pkl|version|byteorder)",
        remedy=_SAVE_AS_SAFETENSORS,
    ),
    _Format(
        what="a file in ORT format",
        files=r"\.ort$",
        start=rb".{4}ORTM",
        remedy=_USE_THE_ORIGINAL,
    ),
    _Format(
        what="a TensorRT engine, which runs on one kind of GPU",
        files=r"\.(engine|plan|trt)$",
        start=rb"(ftrt|ptrt)",
        remedy=_USE_THE_ORIGINAL,
    ),
    _Format(
        what="an OpenVINO model",
        files=r"(^|/)openvino[^/]*\.xml$",
        start=rb"<\?xml[^>]*>\s*<net\b",
        remedy=_USE_ANOTHER,
    ),
    _Format(
        what="a Core ML model",
        files=r"\.(mlmodel|mlpackage|mlmodelc)(/|$)",
        start=None,
        remedy=_USE_ANOTHER,
    ),
    _Format(
        what="a TensorFlow Lite model",
        files=r"\.(tflite|litertlm|task)$",
        start=rb".{4}TFL3",
        remedy=_USE_ANOTHER,
    ),
    _Format(
        what="a TensorFlow, Keras or Flax file",
        files=r"\.(h5|keras|msgpack|pb)$",
        start=rb"\x89HDF",
        remedy=_USE_ANOTHER,
    ),
    _Format(
        what="an archive",
        files=r"^[^/]+\.(zip|tar|gz|tgz|xz|bz2|zst|7z|rar|whl)$",
        start=rb"PK\x03\x04|\x1f\x8b|\xfd7zXZ|BZh|\x28\xb5\x2f\xfd|7z\xbc\xaf|Rar!|.{257}ustar",
        remedy="unpack it, and name the folder with the model",
    ),
    _Format(
        what="a web page, not the file itself",
        files=None,
        start=rb"\s*<(!doctype html|html|head)",
        remedy="download the file again; its URL on the Hugging Face hub has /resolve/ instead of /blob/",
    ),
    _Format(
        what="JSON text, not a model",
        files=None,
        start=rb"\s*[\{\[]\s*[\"\{\[]",
        remedy="name the .onnx file or its folder, or download the file again",
    ),
)
"""The most specific formats first."""


def require_onnx_content(path: Path, *, source: Path) -> None:
    """Checks the start of a file.

    Args:
        path: The file.
        source: What the user named, for the command that would export it.

    Raises:
        ModelFolderError: The file is in another format.
    """
    with open_file(path) as file:
        start = file.read(_START_BYTES)
    for other in _FORMATS:
        if other.start and re.match(other.start, start, re.DOTALL | re.IGNORECASE):
            raise ModelFolderError(_sentence(other, f"{path} is", source=source))


def other_file(path: Path) -> str:
    """Returns the sentence for a file whose name does not end in `.onnx` or `.gguf`."""
    found = next((other for other in _FORMATS if other.files and re.search(other.files, path.name)), None)
    if found is not None:
        return _sentence(found, f"{path} is", source=path.parent)
    return f"{path} is not an .onnx or .gguf file; --model needs one, or the folder of a model"


def absence_of_graphs(files: Iterable[str], *, source: str) -> str:
    """Returns the sentence for a folder or repository whose `files` include no .onnx file."""
    names = list(files)
    for other in _FORMATS:
        if other.files and any(re.search(other.files, name) for name in names):
            return _sentence(other, f"{source} has no model that can be served, but", source=source)
    return (
        f"{source} has no model; --model needs an .onnx file or model.safetensors, each with its config.json and "
        "tokenizer.json, or a .gguf file"
    )


def absence_of_configuration(source: str) -> str:
    """Returns the sentence for a folder or repository without config.json and genai_config.json."""
    return f"{source} has neither config.json nor genai_config.json; copy it from the repository of the model"


def absence_of_tokenizer(names: Iterable[str], *, source: str, output: str) -> str:
    """Returns the sentence for a folder or repository without tokenizer.json.

    Args:
        names: The names of its files.
        source: The folder or repository.
        output: The folder for tokenizer.json in the command that converts another tokenizer.
    """
    found_names = sorted(names)
    for pattern, libraries in _TOKENIZERS:
        if found := next((name for name in found_names if re.match(pattern, name)), None):
            remedy = _CONVERT_TOKENIZER.format(source=source, output=output, libraries=libraries).replace(" )", ")")
            return f"{source} has no tokenizer.json, but {found}, a tokenizer in another format; {remedy}"
    return f"{source} has no tokenizer.json; copy it from the repository of the model"


def _sentence(other: _Format, beginning: str, *, source: str | Path) -> str:
    return f"{beginning} {other.what}; {other.remedy.format(source=source)}"
