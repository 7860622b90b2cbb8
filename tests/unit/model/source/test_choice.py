"""The rule that chooses a graph, for folders and repositories as they are published."""

import re

import pytest

from onward_server.errors import ModelFolderError
from onward_server.model.source.choice import choose_graph

CPU, CUDA = "cpu_and_mobile/cpu-int4-rtn-block-32-acc-level-4", "cuda/cuda-int4-rtn-block-32"
MICROSOFT = [f"{CPU}/phi3-mini-cpu.onnx", f"{CPU}/genai_config.json", f"{CUDA}/phi3-mini-cuda.onnx", "config.json"]
TRANSFORMERS_JS = [
    f"onnx/model{suffix}.onnx"
    for suffix in ("", "_bnb4", "_fp16", "_int8", "_q4", "_q4f16", "_quantized", "_uint8", "_O4")
]
MERGED = ["onnx/decoder_model.onnx", "onnx/decoder_model_merged.onnx", "onnx/decoder_with_past_model.onnx"]
VISION = ["onnx/decoder_model_merged_q4.onnx", "onnx/embed_tokens_q4.onnx", "onnx/vision_encoder_q4.onnx"]

CHOSEN: dict[str, tuple[list[str], str | None, str, str]] = {
    "one file": (["a.onnx", "config.json"], None, "a.onnx", "the only graph"),
    "one file in onnx/": (["onnx/a.onnx"], None, "onnx/a.onnx", "the only graph"),
    "one file far below": (["x/y/a.onnx"], None, "x/y/a.onnx", "the only graph"),
    "one file near, others below": (["a.onnx", "x/y/b.onnx"], None, "a.onnx", "the only decoder"),
    "transformers.js": (TRANSFORMERS_JS, None, "onnx/model.onnx", "the first of 9 by precision and name"),
    "without fp32": (TRANSFORMERS_JS[1:], None, "onnx/model_fp16.onnx", "the first of 8 by precision and name"),
    "without halves": (
        [file for file in TRANSFORMERS_JS[1:] if "16" not in file],
        None,
        "onnx/model_q4.onnx",
        "the first of 6 by precision and name",
    ),
    "q4": (TRANSFORMERS_JS, "q4", "onnx/model_q4.onnx", "the q4 variant"),
    "Q4F16": (TRANSFORMERS_JS, "Q4F16", "onnx/model_q4f16.onnx", "the Q4F16 variant"),
    "q8": (TRANSFORMERS_JS, "q8", "onnx/model_quantized.onnx", "the q8 variant"),
    "fp32": (TRANSFORMERS_JS, "fp32", "onnx/model.onnx", "the fp32 variant"),
    "another suffix": (TRANSFORMERS_JS, "O4", "onnx/model_O4.onnx", "the O4 variant"),
    "a path": (TRANSFORMERS_JS, "onnx/model_q4.onnx", "onnx/model_q4.onnx", "named as onnx/model_q4.onnx"),
    "a path from here": (TRANSFORMERS_JS, "./onnx/model_q4.onnx", "onnx/model_q4.onnx", "named as onnx/model_q4.onnx"),
    "a name": (TRANSFORMERS_JS, "model_q4", "onnx/model_q4.onnx", "named as model_q4"),
    "root and onnx/": (["model.onnx", "onnx/model.onnx"], None, "model.onnx", "the first of 2 by precision and name"),
    "merged": (MERGED, None, "onnx/decoder_model_merged.onnx", "the first of 2 by precision and name"),
    "with past": (MERGED[::2], None, "onnx/decoder_with_past_model.onnx", "the only decoder"),
    "without past alone": (MERGED[:1], None, "onnx/decoder_model.onnx", "the only graph"),
    "vision": (VISION, None, "onnx/decoder_model_merged_q4.onnx", "the only decoder"),
    "vision's q4": (VISION, "q4", "onnx/decoder_model_merged_q4.onnx", "the q4 variant"),
    "an encoder alone": (["encoder_model.onnx"], None, "encoder_model.onnx", "the only graph"),
    "a folder": (MICROSOFT, CPU, f"{CPU}/phi3-mini-cpu.onnx", "the only graph"),
    "a folder's last part": (MICROSOFT, "cuda-int4-rtn-block-32", f"{CUDA}/phi3-mini-cuda.onnx", "the only graph"),
    "a folder with a slash": (MICROSOFT, "cuda/", f"{CUDA}/phi3-mini-cuda.onnx", "the only graph"),
    "named by genai_config.json": (
        ["model.onnx", "genai_config.json", "text/model.onnx"],
        None,
        "text/model.onnx",
        "named by genai_config.json",
    ),
    "genai_config.json names a missing file": (["a.onnx", "genai_config.json"], None, "a.onnx", "the only graph"),
}


@pytest.mark.parametrize("case", CHOSEN)
def test_a_graph_is_chosen_with_its_reason(case: str) -> None:
    files, wanted, path, reason = CHOSEN[case]
    choice = choose_graph(
        dict.fromkeys(files, 1),
        source="S",
        wanted=wanted,
        named_by_genai=lambda config: "./text/model.onnx" if config == "genai_config.json" else None,
    )
    assert (choice.graph.path, choice.reason) == (path, reason)


NOT_CHOSEN: dict[str, tuple[list[str], str | None, str]] = {
    "no file": (
        [],
        None,
        (
            "S has no model; --model needs an .onnx file or model.safetensors, each with its config.json and "
            "tokenizer.json, or a .gguf file"
        ),
    ),
    "several folders": (
        MICROSOFT,
        None,
        f"S has graphs in several folders: {CPU}, {CUDA}; name one after a colon, as in S:{CPU}",
    ),
    "unknown names": (
        ["a.onnx", "b.onnx"],
        None,
        ("S has several graphs, and no rule prefers one: a.onnx, b.onnx; name one after a colon, as in S:a.onnx"),
    ),
    "a variant that is missing beside the only one": (
        ["onnx/model.onnx"],
        "int8",
        "S has no graph int8, only onnx/model.onnx; name one after a colon, as in S:onnx/model.onnx",
    ),
    "a variant that is missing": (
        ["onnx/model.onnx", "onnx/model_q4.onnx"],
        "int8",
        (
            "S has no graph int8, only onnx/model.onnx, onnx/model_q4.onnx; name one after a colon, as in "
            "S:onnx/model.onnx"
        ),
    ),
}


@pytest.mark.parametrize("case", NOT_CHOSEN)
def test_without_a_choice_the_graphs_are_listed(case: str) -> None:
    files, wanted, sentence = NOT_CHOSEN[case]
    with pytest.raises(ModelFolderError, match=f"^{re.escape(sentence)}$"):
        choose_graph(dict.fromkeys(files, 1), source="S", wanted=wanted)


def test_the_size_of_a_graph_includes_the_data_named_after_it() -> None:
    files = {"model.onnx": 1, "model.onnx_data": 10, "model.onnx_data_1": 100, "model_q4.onnx": 5, "b.onnx.data": 7}
    choice = choose_graph(files, source="S")
    assert choice.graph.num_bytes == 111
    assert [(other.path, other.num_bytes) for other in choice.others] == [("model_q4.onnx", 5)]
