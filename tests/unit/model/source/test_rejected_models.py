"""Models that cannot be served are rejected with the sentences that docs/models.md lists."""

import json
import re
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from onnx import TensorProto, helper

from onward_server.errors import ModelFolderError
from onward_server.model.source.folder import ModelFolder
from onward_server.model.source.located_checkpoint import find_checkpoint
from onward_server.model.tokenizer import Tokenizer
from testing.tiny_model import write_tiny_model

PAGE = Path(__file__).parents[4] / "docs" / "models.md"
LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 134515008\n"
PAST = ("past_key_values.0.key", "past_key_values.0.value")

Spoil = Callable[[Path], str | None]
"""Changes a whole model folder; returns what to serve in it, or None for the folder itself."""


def documented_sentences() -> dict[str, str]:
    """The rows of the table in docs/models.md."""
    section = PAGE.read_text(encoding="utf-8").split("## What is rejected")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (.+?) \| (.+?) \|$", section, re.MULTILINE)
    return {what: sentence for what, sentence in rows if what not in ("What it is", "---")}


def file(name: str, content: bytes, *, named: bool = False) -> Spoil:
    """Writes a file instead of the graph."""

    def spoil(folder: Path) -> str | None:
        (folder / "model.onnx").unlink()
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
        return name if named else None

    return spoil


def graph(
    inputs: Sequence[str], outputs: Sequence[str] = ("logits",), op_type: str = "Identity", architecture: str = ""
) -> Spoil:
    """Replaces the graph by one with these inputs and outputs."""

    def spoil(folder: Path) -> None:
        nodes = [helper.make_node(op_type, [inputs[0]], [output]) for output in outputs]
        ins, outs = (
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names]
            for names in (inputs, outputs)
        )
        model = helper.make_model(helper.make_graph(nodes, "g", ins, outs))
        (folder / "model.onnx").write_bytes(model.SerializeToString())
        (folder / "config.json").write_text(json.dumps({"architectures": [architecture]}))  # T5's has no length
        (folder / "genai_config.json").unlink()

    return spoil


def archive(folder: Path) -> str:
    with zipfile.ZipFile(folder / "model.zip", "w") as packed:
        packed.write(folder / "model.onnx", "model.onnx")
    return "model.zip"


def archive_named_onnx(folder: Path) -> None:
    (folder / "config.json").rename(folder / "other")
    with tarfile.open(folder / "model.onnx", "w") as packed:
        packed.add(folder / "other", "other")
    (folder / "other").rename(folder / "config.json")


def tokenizer(*names: str) -> Spoil:
    def spoil(folder: Path) -> None:
        (folder / "tokenizer.json").unlink()
        for name in names:
            (folder / name).write_text("x")

    return spoil


def several_gguf_files(folder: Path) -> None:
    (folder / "model.onnx").unlink()
    for quantization in ("Q4_K_M", "Q8_0"):
        (folder / f"model-{quantization}.gguf").touch()


def checkpoint_without_a_shard(folder: Path) -> None:
    (folder / "model.onnx").unlink()
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "model-00001-of-00002.safetensors").touch()


def no_configuration(folder: Path) -> None:
    (folder / "config.json").unlink()
    (folder / "genai_config.json").unlink()


def npu_export(folder: Path) -> None:
    decoder = {"pipeline": [{"embeddings": {"filename": "model.onnx"}}, {"context": {"filename": "context.onnx"}}]}
    (folder / "genai_config.json").write_text(json.dumps({"model": {"decoder": decoder}}))


def load(location: Path) -> None:
    """Finds the model and reads its tokenizer, as the server does."""
    assert find_checkpoint(location, None) is None
    Tokenizer.load(ModelFolder.read(location).path)


def pointer(name: str) -> Spoil:
    def spoil(folder: Path) -> None:
        (folder / name).write_bytes(LFS_POINTER)

    return spoil


def empty(name: str) -> Spoil:
    def spoil(folder: Path) -> None:
        (folder / name).write_bytes(b"")

    return spoil


CASES: dict[str, Spoil] = {
    "A name without an owner": lambda _: "gpt2",
    "A Git LFS pointer": pointer("model.onnx"),
    "An empty file": empty("model.onnx"),
    "A folder without a model": lambda folder: (folder / "model.onnx").unlink(),
    "Several GGUF files": several_gguf_files,
    "A part of a GGUF file": file("model-00001-of-00002.gguf", b"GGUF\3", named=True),
    "GGUF files of other kinds": file("mmproj-model-f16.gguf", b"GGUF\3"),
    "A GGUF file with another name": file("model.bin", b"GGUF\3", named=True),
    "A safetensors file": file("model.safetensors", bytes(7) + b"\0{}", named=True),
    "Safetensors without an index": file("model-00001-of-00002.safetensors", b"-"),
    "A checkpoint that lacks a file": checkpoint_without_a_shard,
    "A folder with PyTorch weights": file("pytorch_model.bin", b"-"),
    "A model in ORT format": file("model.ort", b"\x18\0\0\0ORTM", named=True),
    "A TensorRT engine": file("model.engine", b"ftrt", named=True),
    "An OpenVINO model": file("openvino_model.xml", b"<?xml version='1.0'?>\n<net name='m'>"),
    "A Core ML model": file("model.mlpackage/Manifest.json", b"{}"),
    "A TensorFlow Lite model": file("model.tflite", b"\x1c\0\0\0TFL3"),
    "TensorFlow or Flax weights": file("tf_model.h5", b"\x89HDF"),
    "An archive": archive,
    "An archive named like a graph": archive_named_onnx,
    "A web page": file("model.onnx", b"<!doctype html>\n<html>"),
    "A text": file("model.onnx", b'{"error": "Repository not found"}'),
    "Another file": file("weights.dat", b"-", named=True),
    "A vision-language model": graph(["input_ids", "pixel_values", *PAST]),
    "A vision encoder": graph(["pixel_values", "grid_thw"], ["image_features"]),
    "The text part of a multimodal model": graph(["inputs_embeds", "attention_mask", *PAST]),
    "An audio model": graph(["input_features", "decoder_ids", *PAST]),
    "An encoder-decoder model": graph(["input_ids", "encoder_hidden_states", *PAST]),
    "An encoder": graph(["input_ids", "attention_mask", "token_type_ids"]),
    "An embedding model": graph(["input_ids", "attention_mask"], ["last_hidden_state"]),
    "A classifier": graph(["input_ids", "attention_mask"], architecture="Qwen3ForSequenceClassification"),
    "A question-answering model": graph(["input_ids", "attention_mask"], ["start_logits", "end_logits"]),
    "A decoder without a cache": graph(["input_ids", "attention_mask"]),
    "Mamba, RWKV, LFM2, Qwen3.5, Granite 4 Hybrid": graph(["input_ids", "past_conv.0", *PAST]),
    "A PagedAttention export": graph(["input_ids", "block_table", "slot_mapping", *PAST]),
    "A graph compiled for a device": graph(["input_ids", *PAST], op_type="EPContext"),
    "A part of a split model": graph(["hidden_states", *PAST]),
    "A text-to-speech model": graph(["input_ids", "style", "speed"], ["waveform"]),
    "An export for an NPU": npu_export,
    "A generation loop": graph(["input_ids", "max_length", "min_length"], op_type="BeamSearch"),
    "Another network": graph(["sample", "timestep"], ["out_sample"]),
    "Files of Qwen's or GPT-2's slow tokenizer": tokenizer("vocab.json", "merges.txt"),
    "Files of SentencePiece": tokenizer("tokenizer.model"),
    "Files of tiktoken": tokenizer("qwen.tiktoken"),
    "Mistral's tekken.json": tokenizer("tekken.json"),
    "No tokenizer": tokenizer(),
    "No configuration": no_configuration,
}


@pytest.mark.parametrize("what", CASES)
def test_what_cannot_be_served_is_named_with_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_tiny_model(Path("FOLDER"))
    served = CASES[what](Path("FOLDER"))
    location = Path("FOLDER")
    if served is not None:
        location = Path("FOLDER") / served if (Path("FOLDER") / served).exists() else Path(served)
    with pytest.raises(ModelFolderError) as raised:
        load(location)
    assert str(raised.value) == documented_sentences().get(what)


def test_the_documentation_lists_what_is_rejected() -> None:
    assert list(documented_sentences()) == list(CASES)
