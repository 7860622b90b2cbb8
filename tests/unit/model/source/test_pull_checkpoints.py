"""Repositories without ONNX graphs are pulled to be exported."""

import json
from collections.abc import Callable, Generator, Mapping
from pathlib import Path

import pytest

from onward_server.errors import HubError, ModelFolderError
from onward_server.model.source.export_choice import ExportChoice
from onward_server.model.source.hub import Hub
from onward_server.model.source.pull import Puller
from onward_server.model.source.pull_progress import ProgressLines
from onward_server.model.source.pulled import PulledCheckpoint
from onward_server.settings.model_reference import HubRepository
from tests.hub_faults import Cut, Respond
from tests.look_alike_hub import LookAlikeHub, look_alike_hub

REPO = HubRepository(owner="owner", name="model")
WEIGHTS = bytes(range(256)) * 40
DESCRIPTION: Mapping[str, bytes] = {"config.json": b"{}", "tokenizer.json": b"{}", "chat_template.jinja": b"{{ 1 }}"}
OTHERS: Mapping[str, bytes] = {
    "README.md": b"# a model",
    "pytorch_model.bin": b"pickle",
    "original/x.safetensors": b"x",
}
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
INDEX = json.dumps({"weight_map": {"a": SHARDS[0], "b": SHARDS[1], "c": SHARDS[1]}}).encode()
SINGLE: Mapping[str, bytes] = {**DESCRIPTION, "LICENSE": b"a license", "model.safetensors": WEIGHTS}
SHARDED: Mapping[str, bytes] = {
    **DESCRIPTION,
    "model.safetensors.index.json": INDEX,
    SHARDS[0]: WEIGHTS,
    SHARDS[1]: WEIGHTS[::-1],
}
GGUF: Mapping[str, bytes] = {"m-Q8_0.gguf": WEIGHTS, "LICENSE": b"a license"}
SPLIT: Mapping[str, bytes] = {
    "m-Q4_0-00001-of-00002.gguf": WEIGHTS[1:],
    "m-Q4_0-00002-of-00002.gguf": WEIGHTS[2:],
    "LICENSE": b"a license",
}

Notes = list[str]
Make = Callable[..., Puller]


@pytest.fixture
def hub() -> Generator[LookAlikeHub]:
    with look_alike_hub() as hub:
        yield hub


@pytest.fixture
def notes() -> Notes:
    return []


@pytest.fixture
def puller(hub: LookAlikeHub, tmp_path: Path, notes: Notes) -> Make:
    def make(*, is_offline: bool = False) -> Puller:
        found = Hub(endpoint=hub.url, cache_folder=tmp_path / "hub", token="hf_secret", is_offline=is_offline)
        return Puller(found, ProgressLines(notes.append), lambda _: None)

    return make


def pulled_checkpoint(found: object) -> PulledCheckpoint:
    assert isinstance(found, PulledCheckpoint)
    return found


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


CASES: Mapping[str, tuple[Mapping[str, bytes], Mapping[str, bytes], str | None, ExportChoice]] = {
    "a checkpoint": (SINGLE, OTHERS, None, ExportChoice(precision="int8", is_default=True)),
    "shards": (SHARDED, OTHERS, "fp32", ExportChoice(precision="fp32", is_default=False)),
    "a checkpoint beside a graph": (
        SINGLE,
        {"onnx/model.onnx": b"graph"},
        "int4",
        ExportChoice(precision="int4", is_default=False),
    ),
    "a GGUF file": (GGUF, OTHERS, None, ExportChoice(gguf_files=("m-Q8_0.gguf",), precision="int8", is_default=True)),
    "a split GGUF file": (
        SPLIT,
        {**OTHERS, "m-Q8_0.gguf": WEIGHTS},
        "Q4_0",
        ExportChoice(gguf_files=tuple(SPLIT)[:2], precision="int8", is_default=False),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_an_export_needs_is_pulled_and_nothing_else(
    hub: LookAlikeHub, puller: Make, notes: Notes, case: str
) -> None:
    needed, others, variant, choice = CASES[case]
    commit = hub.commit("owner/model", {**others, **needed})
    pulled = pulled_checkpoint(puller().pull(REPO, variant))
    assert (pulled.commit, pulled.choice, pulled.is_repaired) == (commit, choice, False)
    assert contents(pulled.folder) == needed
    assert any(f"of commit {commit}, to export them as {choice.precision}" in note for note in notes)


@pytest.mark.parametrize("case", CASES)
def test_a_cached_checkpoint_is_found_offline(hub: LookAlikeHub, puller: Make, case: str) -> None:
    needed, others, variant, _ = CASES[case]
    hub.commit("owner/model", {**others, **needed})
    first = puller().pull(REPO, variant)
    hub.requests.clear()
    assert puller(is_offline=True).pull_unless_cached(REPO, variant) == first
    assert not hub.requests


@pytest.mark.parametrize("case", CASES)
def test_a_snapshot_that_lacks_a_file_is_not_served_offline(hub: LookAlikeHub, puller: Make, case: str) -> None:
    needed, others, variant, _ = CASES[case]
    hub.commit("owner/model", {**others, **needed})
    folder = pulled_checkpoint(puller().pull(REPO, variant)).folder
    for path in needed:
        if path in ("LICENSE", "chat_template.jinja"):
            continue
        target = (folder / path).readlink()
        (folder / path).unlink()
        with pytest.raises(HubError, match="does not have all files of owner/model"):
            puller(is_offline=True).pull_unless_cached(REPO, variant)
        (folder / path).symlink_to(target)
    puller(is_offline=True).pull_unless_cached(REPO, variant)


def test_an_interrupted_download_of_weights_is_continued(hub: LookAlikeHub, puller: Make) -> None:
    hub.commit("owner/model", SHARDED)
    hub.faults.append(Cut(path=SHARDS[1], after=3000))
    assert contents(pulled_checkpoint(puller().pull(REPO, None)).folder) == SHARDED
    assert [request.start for request in hub.requests_of(SHARDS[1]) if request.host == "cdn"] == [0, 3000]


def test_a_damaged_file_is_pulled_again_which_is_said_so_that_it_is_exported_again(
    hub: LookAlikeHub, puller: Make
) -> None:
    hub.commit("owner/model", SINGLE)
    weights = pulled_checkpoint(puller().pull(REPO, None)).folder / "model.safetensors"
    weights.resolve().write_bytes(WEIGHTS[::-1])
    assert pulled_checkpoint(puller().pull(REPO, None)).is_repaired
    assert weights.read_bytes() == WEIGHTS
    assert not pulled_checkpoint(puller().pull(REPO, None)).is_repaired


LACKING = {
    "a shard": (SHARDED, SHARDS[1], f"owner/model lacks {SHARDS[1]}, which model.safetensors.index.json lists"),
    "a part": (SPLIT, "m-Q4_0-00002-of-00002.gguf", "owner/model lacks m-Q4_0-00002-of-00002.gguf, a part of a split"),
    "a tokenizer": (SINGLE, "tokenizer.json", "owner/model has no tokenizer.json; copy it from the repository"),
    "a configuration": (SINGLE, "config.json", "owner/model has neither config.json nor genai_config.json"),
}


@pytest.mark.parametrize("case", LACKING)
def test_a_repository_that_lacks_a_file_is_rejected_before_weights_are_downloaded(
    hub: LookAlikeHub, puller: Make, case: str
) -> None:
    files, missing, sentence = LACKING[case]
    hub.commit("owner/model", {path: content for path, content in files.items() if path != missing})
    with pytest.raises(ModelFolderError) as raised:
        puller().pull(REPO, None)
    assert str(raised.value).startswith(sentence)
    assert not [request for request in hub.requests if request.host == "cdn"]


@pytest.mark.parametrize("weight_map", ["{}", "[]", '{"a": 1}', '{"a": ["x"]}'])
def test_an_index_that_lists_no_files_is_rejected(hub: LookAlikeHub, puller: Make, weight_map: str) -> None:
    index = f'{{"weight_map": {weight_map}}}'.encode()
    hub.commit("owner/model", {**SHARDED, "model.safetensors.index.json": index})
    with pytest.raises(
        ModelFolderError, match=r"^owner/model: weight_map in model\.safetensors\.index\.json is not an"
    ):
        puller().pull(REPO, None)


def test_a_server_asks_whether_the_hub_has_a_graph_by_now_unless_it_cannot(hub: LookAlikeHub, puller: Make) -> None:
    commit = hub.commit("owner/model", SINGLE)
    puller().pull(REPO, None)
    pinned = HubRepository(owner="owner", name="model", revision=commit)
    hub.requests.clear()
    assert isinstance(puller().pull_unless_cached(pinned, "fp32"), PulledCheckpoint)
    assert not hub.requests
    hub.faults.append(Respond(path="/revision/", status=500, times=10))
    assert isinstance(puller().pull_unless_cached(REPO, None), PulledCheckpoint)
    assert hub.requests
