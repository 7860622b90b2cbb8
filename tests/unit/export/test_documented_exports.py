"""docs/models.md lists what can be exported."""

import re
from pathlib import Path

import pytest

from onward_server.export.architectures.families import FAMILIES
from onward_server.export.architectures.reading import _TEXT_PARTS
from onward_server.export.architectures.rope import _SCALINGS
from onward_server.export.blocks.floats import FLOATS
from onward_server.export.gguf_model.architectures import ARCHITECTURES
from onward_server.export.gguf_model.block_types import BLOCK_CODECS, FLOAT_TYPES

PAGE = (Path(__file__).parents[3] / "docs/models.md").read_text()


@pytest.mark.parametrize(
    ("row", "names"),
    [
        ("`model_type` of a checkpoint", set(FAMILIES)),
        ("multimodal checkpoints, their text part alone", set(_TEXT_PARTS)),
        ("`general.architecture` of a GGUF file", set(ARCHITECTURES)),
        ("types of GGUF tensors", {block_type.name for block_type in (*FLOAT_TYPES, *BLOCK_CODECS)}),
        ("types of safetensors tensors", set(FLOATS)),
        ("`rope_scaling`", set(_SCALINGS) - {"default"}),
    ],
)
def test_the_page_lists_everything_that_can_be_exported(row: str, names: set[str]) -> None:
    found = re.search(rf"^\| {re.escape(row)} \| (.+) \|$", PAGE, re.MULTILINE)

    assert found is not None
    assert sorted(found[1].split(", ")) == sorted(names)
