"""Altered files of a model folder are read, or rejected in one sentence: never a traceback, a hang or a crash."""

import json
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from onward_server.completion.prompt.template_sources import folder_templates
from onward_server.errors import ModelFolderError
from onward_server.json_value import Json
from onward_server.model.source.folder import ModelFolder
from onward_server.model.tokenizer import Tokenizer
from testing.tiny_model import write_tiny_model

NAMES = ["config.json", "generation_config.json", "genai_config.json", "tokenizer.json", "tokenizer_config.json"]
ODD_VALUES: Sequence[Json] = (
    None,
    True,
    -1,
    0,
    2**31,
    2**70,
    1e308,
    "",
    "x",
    "\u0000",
    "\ud800",
    [],
    {},
    [[]],
    {"x": 1},
)
CASES_A_FILE = 12


def altered(value: Json, generator: random.Random) -> Json:
    """A copy with one odd value somewhere, or without one entry."""
    match value:
        case {**entries} if entries and generator.random() < 0.9:
            key = generator.choice(sorted(entries))
            rest = {name: entry for name, entry in entries.items() if name != key}
            return rest if generator.random() < 0.1 else {**rest, key: altered(entries[key], generator)}
        case [*entries] if entries and generator.random() < 0.8:
            index = generator.randrange(len(entries))
            return [*entries[:index], altered(entries[index], generator), *entries[index + 1 :]]
        case _:
            return generator.choice(ODD_VALUES)


def read_everything(folder: Path) -> None:
    ModelFolder.read(folder)
    Tokenizer.load(folder)
    folder_templates(folder)


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_with_an_altered_file_is_read_or_rejected_in_one_sentence(tmp_path: Path, name: str) -> None:
    folder = write_tiny_model(tmp_path / "tiny")
    original: Json = json.loads((folder / name).read_text(encoding="utf-8"))
    generator = random.Random(name)
    rejections: list[str] = []
    for _ in range(CASES_A_FILE):
        (folder / name).write_text(json.dumps(altered(original, generator)), encoding="utf-8")
        try:
            read_everything(folder)
        except ModelFolderError as error:
            rejections.append(str(error))
    assert 0 < len(rejections) < CASES_A_FILE
    assert all(str(folder) in rejection and "\n" not in rejection for rejection in rejections)
