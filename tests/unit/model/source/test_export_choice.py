"""What is exported is chosen by the names of files and by what the user names: see decision 0036."""

from collections.abc import Mapping, Sequence

import pytest

from onward_server.errors import ModelFolderError
from onward_server.model.exporting.precision import Precision
from onward_server.model.source.export_choice import ExportChoice, choose_export, export_of_file

CHECKPOINT = ("config.json", "tokenizer.json", "model.safetensors")
SHARDS = ("config.json", "model-00001-of-00002.safetensors", "model.safetensors.index.json")
QUANTIZED = ("README.md", "m-Q4_K_M.gguf", "m-Q8_0.gguf", "m-UD-Q4_K_XL.gguf", "mmproj-m-f16.gguf", "m.imatrix.gguf")
FLOATS = ("m-BF16.gguf", "m-F16.gguf", "m.f32.gguf")
SPLIT = ("big/m-Q8_0-00001-of-00003.gguf", "big/m-Q8_0-00002-of-00003.gguf", "big/m-Q8_0-00003-of-00003.gguf")
ONNX = ("onnx/model.onnx", "onnx/model_int8.onnx", "onnx/model_q4.onnx")

EXPORTS: Mapping[str, tuple[Sequence[str], str | None, tuple[str, ...], Precision]] = {
    "a checkpoint": (CHECKPOINT, None, (), "int8"),
    "shards": (SHARDS, None, (), "int8"),
    "a precision": (CHECKPOINT, "fp32", (), "fp32"),
    "a precision in capitals": (CHECKPOINT, "INT4", (), "int4"),
    "a checkpoint beside GGUF files": ((*CHECKPOINT, *QUANTIZED), None, (), "int8"),
    "a GGUF file beside a checkpoint": ((*CHECKPOINT, *QUANTIZED), "Q8_0", ("m-Q8_0.gguf",), "int8"),
    "a checkpoint beside a graph without the precision": ((*CHECKPOINT, *ONNX), "int4", (), "int4"),
    "a checkpoint beside graphs of other parts": ((*CHECKPOINT, "onnx/vision_encoder.onnx"), None, (), "int8"),
    "the only GGUF file": (QUANTIZED[:2], None, ("m-Q4_K_M.gguf",), "int8"),
    "the only GGUF file in a precision": (QUANTIZED[:2], "fp32", ("m-Q4_K_M.gguf",), "fp32"),
    "a GGUF file beside parts of other kinds": (QUANTIZED[2:3] + QUANTIZED[4:], None, ("m-Q8_0.gguf",), "int8"),
    "a quantization": (QUANTIZED, "Q4_K_M", ("m-Q4_K_M.gguf",), "int8"),
    "a quantization in small letters": (QUANTIZED, "q4_k_xl", ("m-UD-Q4_K_XL.gguf",), "int8"),
    "a longer end of a name": (QUANTIZED, "UD-Q4_K_XL", ("m-UD-Q4_K_XL.gguf",), "int8"),
    "a file": (QUANTIZED, "m-Q8_0.gguf", ("m-Q8_0.gguf",), "int8"),
    "all parts of a split file": (SPLIT, None, SPLIT, "int8"),
    "all parts of a split file by quantization": ((*QUANTIZED[:2], *SPLIT), "Q8_0", SPLIT, "int8"),
    "floats in their own precision": (FLOATS, "F16", ("m-F16.gguf",), "fp16"),
    "floats by precision": (FLOATS, "fp32", ("m.f32.gguf",), "fp32"),
    "bfloat16, which no processor computes": (FLOATS, "bf16", ("m-BF16.gguf",), "fp32"),
}


@pytest.mark.parametrize("case", EXPORTS)
def test_a_checkpoint_or_a_gguf_file_is_exported(case: str) -> None:
    files, wanted, gguf_files, precision = EXPORTS[case]
    choice = choose_export(files, source="S", wanted=wanted)
    assert choice == ExportChoice(gguf_files=gguf_files, precision=precision, is_default=wanted is None)


GRAPHS = {
    "a graph beside a checkpoint": ((*CHECKPOINT, *ONNX), None),
    "a precision that a graph has": ((*CHECKPOINT, *ONNX), "int8"),
    "the folder of graphs": ((*CHECKPOINT, *ONNX), "onnx"),
    "a variant that no file has": ((*CHECKPOINT, *ONNX), "q2"),
    "a graph alone": (ONNX, "q4"),
    "no model": (("config.json", "pytorch_model.bin"), None),
    "a precision of no model": (("config.json", "pytorch_model.bin"), "int8"),
    "other safetensors": (("config.json", "adapter_model.safetensors"), None),
    "an adapter": (("ggml-lora-f16.gguf",), None),
}


@pytest.mark.parametrize("case", GRAPHS)
def test_nothing_is_exported_if_there_is_a_graph_or_no_model(case: str) -> None:
    files, wanted = GRAPHS[case]
    assert choose_export(files, source="S", wanted=wanted) is None


REJECTED = {
    "several": (QUANTIZED, None, "S has 3 GGUF models; name one of these after a colon, as in S:Q4_K_M: Q4_K_M, "),
    "several in a precision": (QUANTIZED, "int4", "S has 3 GGUF models; name one of these after a colon, "),
    "none of several": (QUANTIZED, "Q2_K", "S has no Q2_K; name one of these after a colon, as in S:Q4_K_M: Q4_K_M, "),
    "a variant of a checkpoint": (
        CHECKPOINT,
        "q4",
        "S has no q4; name one of these after a colon, as in S:fp32: fp32, ",
    ),
    "two of one quantization": (
        ("a-Q8_0.gguf", "b-Q8_0.gguf"),
        "Q8_0",
        "S has 2 GGUF models; name one of these after a colon, as in S:a-Q8_0.gguf: a-Q8_0.gguf, b-Q8_0.gguf",
    ),
}


@pytest.mark.parametrize("case", REJECTED)
def test_a_choice_that_no_rule_makes_lists_what_there_is(case: str) -> None:
    files, wanted, sentence = REJECTED[case]
    with pytest.raises(ModelFolderError) as raised:
        choose_export(files, source="S", wanted=wanted)
    assert str(raised.value).startswith(sentence)


def test_a_gguf_file_is_exported_in_the_precision_that_is_named_with_it() -> None:
    assert export_of_file("m.gguf", "fp16", source="a/m.gguf") == ExportChoice(
        gguf_files=("m.gguf",), precision="fp16", is_default=False
    )
    with pytest.raises(
        ModelFolderError, match=r"^a/m\.gguf cannot be exported as 'Q8_0'; the precisions are fp32, fp16, "
    ):
        export_of_file("m.gguf", "Q8_0", source="a/m.gguf")


def test_a_number_of_parts_that_no_model_has_is_not_counted() -> None:
    assert choose_export(["m-00001-of-99999.gguf"], source="S") == ExportChoice(
        gguf_files=("m-00001-of-99999.gguf",), precision="int8", is_default=True
    )
