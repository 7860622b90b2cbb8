"""Models pulled from a look-alike of the Hugging Face hub, with the faults of networks, hubs and disks."""

import hashlib
import json
import shutil
import socket
import threading
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub import (
    close_session,
    snapshot_download,  # pyright: ignore[reportUnknownVariableType]
    try_to_load_from_cache,
)
from onnx import TensorProto, helper

from onward_server.errors import HubError, HubUnreachable, ModelFolderError, StartupError
from onward_server.model.source import hub as hub_module
from onward_server.model.source.hub import Hub
from onward_server.model.source.hub_cache import HubCache
from onward_server.model.source.pull import Puller
from onward_server.model.source.pull_progress import ProgressLines
from onward_server.model.source.pulled import PulledModel
from onward_server.settings.model_reference import HubRepository
from tests.hub_faults import Corrupt, Cut, Move, NoRange, Respond, Stall
from tests.look_alike_hub import LookAlikeHub, blob_id, look_alike_hub
from tests.waiting import WAIT_S

REPO = "owner/model"
REPOSITORY = HubRepository(owner="owner", name="model")
WEIGHTS = bytes(range(256)) * 1200


def graph(*locations: str) -> bytes:
    """An ONNX graph with a tensor in each of these files."""
    tensors: list[TensorProto] = []
    for number, location in enumerate(locations):
        tensor = TensorProto(
            name=f"w{number}", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL
        )
        tensor.external_data.add(key="location", value=location)
        tensors.append(tensor)
    names = ("input_ids", "past_key_values.0.key")
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, [1]) for name in names]
    nodes = [helper.make_node("Identity", ["input_ids"], ["logits"])]
    return helper.make_model(helper.make_graph(nodes, "g", inputs, [], tensors)).SerializeToString()


DESCRIPTION: Mapping[str, bytes] = {"config.json": b'{"eos_token_id": 2}', "tokenizer.json": b'{"model": {}}'}
FILES: Mapping[str, bytes] = {
    **DESCRIPTION,
    "generation_config.json": b"{}",
    "chat_template.jinja": b"{{ messages }}",
    "additional_chat_templates/tools.jinja": b"{{ tools }}",
    "README.md": b"# a model",
    "onnx/model.onnx": graph("model.onnx_data", "model.onnx_data_1"),
    "onnx/model.onnx_data": WEIGHTS,
    "onnx/model.onnx_data_1": WEIGHTS[:1000],
    "onnx/model_q4.onnx": graph("any name.bin"),
    "onnx/any name.bin": WEIGHTS[:3000],
    "model.safetensors": WEIGHTS[::-1],
}
PULLED = {
    *DESCRIPTION,
    "generation_config.json",
    "chat_template.jinja",
    "additional_chat_templates/tools.jinja",
    "onnx/model.onnx",
    "onnx/model.onnx_data",
    "onnx/model.onnx_data_1",
}
"""The files that the server needs to serve `onnx/model.onnx`."""


@dataclass(slots=True)
class Machine:
    """A machine that pulls from a hub into a cache of its own."""

    hub: LookAlikeHub
    cache_folder: Path
    token: str = "hf_secret"
    is_offline: bool = False
    endpoint: str | None = None
    notes: list[str] = field(default_factory=list[str])
    pauses: list[float] = field(default_factory=list[float])

    @property
    def puller(self) -> Puller:
        endpoint = self.endpoint or self.hub.url
        hub = Hub(endpoint=endpoint, cache_folder=self.cache_folder, token=self.token, is_offline=self.is_offline)
        return Puller(hub, ProgressLines(self.notes.append), self.pauses.append)

    def pull(self, variant: str | None = None, revision: str | None = None) -> PulledModel:
        pulled = self.puller.pull(HubRepository(owner="owner", name="model", revision=revision), variant)
        assert isinstance(pulled, PulledModel)
        return pulled

    def get(self, variant: str | None = None, revision: str | None = None) -> PulledModel:
        repository = HubRepository(owner="owner", name="model", revision=revision)
        pulled = self.puller.pull_unless_cached(repository, variant)
        assert isinstance(pulled, PulledModel)
        return pulled

    def pull_error(self, error: type[StartupError] = HubError, **what: str) -> str:
        """The message of the error that a pull raises."""
        with pytest.raises(error) as caught:
            self.pull(**what)
        return str(caught.value)

    def kept(self) -> set[str]:
        """The names of the complete contents in the cache."""
        return {path.name for path in self.cache_folder.glob("models--*/blobs/*") if path.suffix != ".incomplete"}

    def unfinished(self) -> list[int]:
        """The sizes of the incomplete contents in the cache."""
        return [path.stat().st_size for path in self.cache_folder.glob("models--*/blobs/*.incomplete")]

    def snapshots(self) -> list[Path]:
        """The folders of commits, which a server could serve."""
        return list(self.cache_folder.glob("models--*/snapshots/*"))


@pytest.fixture
def hub() -> Generator[LookAlikeHub]:
    with look_alike_hub() as hub:
        yield hub


@pytest.fixture
def machine(hub: LookAlikeHub, tmp_path: Path) -> Machine:
    return Machine(hub, tmp_path / "hub")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def wanted(files: Mapping[str, bytes] = FILES) -> dict[str, bytes]:
    return {path: content for path, content in files.items() if path in PULLED}


def test_the_graph_its_weights_and_its_description_are_pulled_and_nothing_else(machine: Machine) -> None:
    commit = machine.hub.commit(REPO, FILES)
    pulled = machine.pull()
    assert (pulled.commit, pulled.choice.graph.path) == (commit, "onnx/model.onnx")
    assert contents(pulled.folder) == wanted()
    assert pulled.folder == machine.cache_folder / "models--owner--model" / "snapshots" / commit
    assert (machine.cache_folder / "models--owner--model/refs/main").read_text() == commit


def test_the_token_goes_to_the_hub_and_to_no_other_host(machine: Machine) -> None:
    machine.hub.commit(REPO, FILES)
    machine.pull()
    hosts = {(request.host, request.headers.get("authorization")) for request in machine.hub.requests}
    assert hosts == {("hub", "Bearer hf_secret"), ("cdn", None)}


def test_nothing_is_asked_for_that_a_download_does_not_need(machine: Machine) -> None:
    """huggingface-hub would ask for a list of programs, to tell the hub which of them it runs in."""
    commit = machine.hub.commit(REPO, FILES)
    machine.pull()
    api = f"/api/models/{REPO}"
    paths = {f"{api}/revision/main", f"{api}/tree/{commit}", *(f"/{REPO}/resolve/{commit}/{path}" for path in PULLED)}
    assert {request.path for request in machine.hub.requests if request.host == "hub"} == paths
    assert {request.headers["user-agent"].split("/")[0] for request in machine.hub.requests} == {"onward"}


@pytest.mark.parametrize("variant", ["q4", "onnx/model_q4.onnx"])
def test_a_variant_is_pulled_with_the_files_that_its_graph_names(machine: Machine, variant: str) -> None:
    machine.hub.commit(REPO, FILES)
    pulled = machine.pull(variant)
    graphs_and_weights = {path for path in contents(pulled.folder) if path.startswith("onnx/")}
    assert graphs_and_weights == {"onnx/model_q4.onnx", "onnx/any name.bin"}


def test_variants_of_one_commit_lie_in_one_folder(machine: Machine) -> None:
    machine.hub.commit(REPO, FILES)
    assert machine.pull("q4").folder == machine.pull().folder
    assert contents(machine.pull().folder).keys() == PULLED | {"onnx/model_q4.onnx", "onnx/any name.bin"}


def test_a_folder_of_a_repository_is_pulled_with_its_own_description(machine: Machine) -> None:
    in_folder = {f"cpu/int4/{path}": content for path, content in DESCRIPTION.items()}
    genai = json.dumps({"model": {"decoder": {"filename": "text.onnx"}}}).encode()
    folder = {"cpu/int4/genai_config.json": genai, "cpu/int4/text.onnx": graph(), "cpu/int4/embedding.onnx": graph()}
    machine.hub.commit(REPO, {**in_folder, **folder, "cuda/int4/model.onnx": graph(), "cuda/int4/config.json": b"{}"})
    pulled = machine.pull("cpu/int4")
    assert contents(pulled.folder).keys() == {*in_folder, "cpu/int4/genai_config.json", "cpu/int4/text.onnx"}


def test_a_branch_a_tag_and_a_commit_can_be_pulled(machine: Machine) -> None:
    old = machine.hub.commit(REPO, FILES, tag="v1")
    changed = {**FILES, "config.json": b'{"changed": 1}'}
    other = machine.hub.commit(REPO, changed, branch="refs/pr/3")
    machine.hub.commit(REPO, {**FILES, "config.json": b'{"changed": 2}'})
    assert machine.pull(revision="v1").commit == machine.pull(revision=old).commit == old
    assert machine.pull(revision="refs/pr/3").commit == other
    assert (machine.pull(revision=other).folder / "config.json").read_bytes() == changed["config.json"]


def test_a_long_list_of_files_is_read_page_by_page(machine: Machine) -> None:
    machine.hub.page_size = 2
    machine.hub.commit(REPO, FILES)
    assert contents(machine.pull().folder) == wanted()


def test_a_second_pull_downloads_nothing(machine: Machine) -> None:
    machine.hub.commit(REPO, FILES)
    first = machine.pull()
    machine.hub.requests.clear()
    assert machine.pull() == first
    assert not [request for request in machine.hub.requests if "/resolve/" in request.path]
    assert machine.notes[-1] == "owner/model: all files are in the cache"


def test_the_library_finds_what_was_pulled(machine: Machine) -> None:
    machine.hub.commit(REPO, FILES)
    folder = machine.pull().folder
    for path in PULLED:
        assert try_to_load_from_cache(REPO, path, cache_dir=machine.cache_folder) == str(folder / path)
    assert try_to_load_from_cache(REPO, "README.md", cache_dir=machine.cache_folder) is None


def test_what_the_library_has_downloaded_is_not_downloaded_again(machine: Machine) -> None:
    """The library's client also shows that the look-alike speaks the hub's protocol."""
    machine.hub.commit(REPO, FILES)
    downloaded = snapshot_download(REPO, endpoint=machine.hub.url, cache_dir=machine.cache_folder, token="hf_secret")
    assert contents(Path(downloaded)) == FILES
    machine.hub.requests.clear()
    assert machine.pull().folder == Path(downloaded)
    assert not [request for request in machine.hub.requests if "/resolve/" in request.path]


def test_what_two_commits_have_in_common_is_downloaded_once(machine: Machine) -> None:
    machine.hub.commit(REPO, FILES)
    machine.pull()
    machine.hub.commit(REPO, {**FILES, "config.json": b'{"changed": 1}'})
    machine.hub.requests.clear()
    pulled = machine.pull()
    assert contents(pulled.folder) == wanted() | {"config.json": b'{"changed": 1}'}
    assert [request.path.rpartition("/")[2] for request in machine.hub.requests_of(".json")] == ["config.json"]


def test_a_transfer_that_is_cut_goes_on_where_it_ended(machine: Machine) -> None:
    machine.hub.commit(REPO, FILES)
    machine.hub.faults += [Cut(path="model.onnx_data", after=100_000), Cut(path="model.onnx_data", after=50_000)]
    assert contents(machine.pull().folder) == wanted()
    starts = [request.start for request in machine.hub.requests_of("model.onnx_data") if request.host == "cdn"]
    assert starts == [0, 100_000, 150_000]
    assert machine.pauses == [0, 0]


def test_a_pull_that_gave_up_is_continued_by_the_next(machine: Machine) -> None:
    machine.hub.commit(REPO, FILES)
    machine.hub.faults += [Cut(path="model.onnx_data", after=100_000), Cut(path="model.onnx_data", after=0, times=5)]
    said = machine.pull_error(HubUnreachable)
    assert machine.unfinished() == [100_000]
    assert machine.pauses == [0, 1, 2, 4, 8]
    assert "was lost: " in said
    assert not machine.snapshots()
    machine.hub.requests.clear()
    assert contents(machine.pull().folder) == wanted()
    assert next(request.start for request in machine.hub.requests if request.host == "cdn") == 100_000
    assert not machine.unfinished()


def test_a_server_that_ignores_ranges_sends_the_whole_file_again(machine: Machine) -> None:
    machine.hub.commit(REPO, FILES)
    machine.hub.faults += [Cut(path="model.onnx_data", after=100_000), NoRange(path="model.onnx_data", times=2)]
    assert contents(machine.pull().folder) == wanted()


def test_a_server_that_ignores_ranges_and_always_ends_early_is_given_up(machine: Machine) -> None:
    machine.hub.commit(REPO, FILES)
    machine.hub.faults.append(Cut(path="model.onnx_data", after=100_000, ignores_range=True, times=99))
    assert "was lost: " in machine.pull_error(HubUnreachable)
    assert machine.pauses == [0, 1, 2, 4, 8]


@pytest.mark.parametrize("path", ["onnx/model.onnx_data", "config.json"])
def test_a_content_with_the_wrong_hash_is_downloaded_once_more(machine: Machine, path: str) -> None:
    machine.hub.commit(REPO, FILES)
    machine.hub.faults.append(Corrupt(path=path))
    assert contents(machine.pull().folder) == wanted()
    assert f"{path}: the download does not match its hash; downloading it again" in machine.notes


@pytest.mark.parametrize("path", ["onnx/model.onnx_data", "onnx/model.onnx", "config.json"])
def test_a_content_whose_hash_stays_wrong_is_removed_and_the_error_shows_both_hashes(
    machine: Machine, path: str
) -> None:
    machine.hub.commit(REPO, FILES)
    machine.hub.faults.append(Corrupt(path=path, times=2))
    said = machine.pull_error()
    right = hashlib.sha256(FILES[path]).hexdigest() if "onnx" in path else blob_id(FILES[path])
    assert said.startswith(f"{path} of owner/model arrived with the hash ")
    assert f"but the hub says {right}; it was removed" in said
    assert right not in machine.kept()
    assert not machine.unfinished()
    assert not machine.snapshots()
    assert contents(machine.pull().folder) == wanted()


@pytest.mark.parametrize("num_bytes", [5000, len(WEIGHTS), len(WEIGHTS) + 1])
def test_a_damaged_partial_download_is_replaced(machine: Machine, num_bytes: int) -> None:
    machine.hub.commit(REPO, FILES)
    left = machine.cache_folder / "models--owner--model/blobs" / hashlib.sha256(WEIGHTS).hexdigest()
    left.parent.mkdir(parents=True)
    left.with_name(f"{left.name}.onward.incomplete").write_bytes(b"?" * num_bytes)
    assert contents(machine.pull().folder) == wanted()


def test_a_damaged_file_in_the_cache_is_replaced_by_a_pull(machine: Machine) -> None:
    machine.hub.commit(REPO, FILES)
    blob = (machine.pull().folder / "onnx/model.onnx_data").resolve()
    blob.write_bytes(b"?" * len(WEIGHTS))
    assert contents(machine.pull().folder) == wanted()
    assert any(note.endswith("does not match its hash; downloading it again") for note in machine.notes)


def test_a_blob_of_the_wrong_size_is_replaced(machine: Machine) -> None:
    """A crash of the machine can leave an empty blob under its final name."""
    machine.hub.commit(REPO, FILES)
    for path in ("onnx/model.onnx", "onnx/model.onnx_data"):
        (machine.pull().folder / path).resolve().write_bytes(b"")
        assert contents(machine.get().folder) == wanted()


def test_a_branch_that_moves_during_a_pull_does_not_mix_two_commits(machine: Machine) -> None:
    old = machine.hub.commit(REPO, FILES)
    changed = {path: content + b" " * (not path.endswith(".onnx")) for path, content in FILES.items()}
    machine.hub.faults.append(Move(path=f"tree/{old}", repo=REPO, files=changed))
    pulled = machine.pull()
    assert pulled.commit == old
    assert contents(pulled.folder) == wanted()
    assert contents(machine.pull().folder) == wanted(changed)


def test_a_server_takes_the_cached_commit_and_says_that_the_branch_has_moved(machine: Machine) -> None:
    old = machine.hub.commit(REPO, FILES)
    machine.get()
    new = machine.hub.commit(REPO, {**FILES, "config.json": b'{"changed": 1}'})
    assert machine.get().commit == old
    assert machine.notes[-1] == (
        f"owner/model has moved to commit {new}; using commit {old}, which is in the cache. "
        "`onward pull owner/model` downloads the new one"
    )
    assert machine.pull().commit == machine.get().commit == new


def test_a_cached_commit_that_is_named_needs_no_request(machine: Machine) -> None:
    commit = machine.hub.commit(REPO, FILES)
    machine.pull()
    machine.hub.requests.clear()
    assert machine.get(revision=commit).commit == commit
    assert not machine.hub.requests


def test_a_named_commit_serves_the_same_graph_whichever_graphs_are_cached(machine: Machine) -> None:
    commit = machine.hub.commit(REPO, FILES)
    machine.pull("q4")
    assert machine.get(revision=commit).choice.graph.path == "onnx/model.onnx"


def test_a_variant_that_is_not_in_the_cache_is_downloaded(machine: Machine) -> None:
    machine.hub.commit(REPO, FILES)
    machine.get()
    assert machine.get("q4").choice.graph.path == "onnx/model_q4.onnx"


def test_a_copy_of_another_tool_that_lacks_files_is_completed(machine: Machine) -> None:
    commit = machine.hub.commit(REPO, FILES)
    folder = HubCache(machine.cache_folder, REPO).snapshot(commit)
    folder.mkdir(parents=True)
    (folder / "config.json").write_bytes(FILES["config.json"])
    (folder.parents[1] / "refs").mkdir()
    (folder.parents[1] / "refs/main").write_text(commit)
    assert contents(machine.get().folder) == wanted()


def closed_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}"


def test_without_a_network_a_pull_says_so(machine: Machine) -> None:
    machine.endpoint = closed_address()
    said = machine.pull_error(HubUnreachable)
    assert said.startswith(f"{machine.endpoint.removeprefix('http://')} cannot be reached: ")
    assert said.endswith("; check the network, the proxy and HF_ENDPOINT")
    assert sum(machine.pauses) <= 2


def test_without_a_network_a_server_takes_the_cached_commit_and_says_so(machine: Machine) -> None:
    commit = machine.hub.commit(REPO, FILES)
    machine.get()
    machine.endpoint = closed_address()
    machine.pauses.clear()
    assert machine.get().commit == commit
    assert machine.notes[-1].endswith(f"; using commit {commit} of owner/model, which is in the cache")
    assert not machine.pauses
    with pytest.raises(HubUnreachable):
        machine.get("q4")


def test_a_server_takes_the_cached_commit_if_the_hub_has_lost_the_repository(machine: Machine) -> None:
    commit = machine.hub.commit(REPO, FILES)
    machine.get()
    machine.hub.faults.append(Respond(path="revision/main", status=404))
    assert machine.get().commit == commit


def test_a_server_whose_model_is_cached_does_not_wait_for_a_busy_hub(machine: Machine) -> None:
    commit = machine.hub.commit(REPO, FILES)
    machine.pull()
    machine.hub.faults.append(Respond(path=f"tree/{commit}", status=503, times=9))
    assert machine.get().commit == commit
    assert machine.pauses == []
    assert machine.notes[-1].endswith(f"; using commit {commit} of owner/model, which is in the cache")


def test_offline_the_cache_is_used_and_nothing_is_sent(machine: Machine) -> None:
    commit = machine.hub.commit(REPO, FILES)
    machine.pull()
    machine.hub.requests.clear()
    machine.is_offline = True
    assert machine.get().commit == machine.pull().commit == commit
    assert machine.notes[-1] == (f"HF_HUB_OFFLINE is set; using commit {commit} of owner/model, which is in the cache")
    assert not machine.hub.requests


def test_offline_a_model_that_is_not_in_the_cache_is_rejected(machine: Machine) -> None:
    machine.hub.commit(REPO, FILES)
    machine.pull()
    machine.is_offline = True
    assert machine.pull_error(variant="q4") == (
        f"HF_HUB_OFFLINE is set, and {machine.cache_folder} does not have all files of owner/model:q4; unset "
        "HF_HUB_OFFLINE, or run `onward pull owner/model:q4` where the hub can be reached"
    )


def test_an_interrupted_pull_leaves_nothing_that_a_server_would_take(machine: Machine) -> None:
    machine.hub.commit(REPO, FILES)
    machine.hub.faults.append(Respond(path="model.onnx_data_1", status=404, times=9))
    machine.pull_error()
    machine.is_offline = True
    assert "does not have all files of owner/model" in machine.pull_error()


def test_a_gated_repository_says_what_to_accept_and_what_to_set(machine: Machine) -> None:
    machine.hub.commit(REPO, FILES)
    machine.hub.gate(REPO, token="hf_secret")
    assert contents(machine.pull().folder) == wanted()
    other = Machine(machine.hub, machine.cache_folder.parent / "other", token="hf_other")
    assert other.pull_error() == (
        f"owner/model is gated: accept its terms at {machine.hub.url}/owner/model, and use a token of that account "
        "(the hub says: Access to model owner/model is restricted. You must have access to it and be authenticated.)"
    )


def test_a_gated_repository_without_a_token_asks_for_one(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.delenv("HUGGING_FACE_HUB_TOKEN", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no token"))
    machine.hub.commit(REPO, FILES)
    machine.hub.gate(REPO, token="hf_secret")
    hub = Hub(endpoint=machine.hub.url, cache_folder=machine.cache_folder)
    with pytest.raises(
        HubError, match=r"is gated: accept its terms at .*, and set HF_TOKEN to a token of that account"
    ):
        Puller(hub, ProgressLines(machine.notes.append)).pull(REPOSITORY, None)
    assert not any("authorization" in request.headers for request in machine.hub.requests)


def test_a_rejected_token_is_named(machine: Machine) -> None:
    machine.hub.commit(REPO, FILES)
    refused = {"X-Error-Message": "Invalid credentials in Authorization header"}
    machine.hub.faults.append(Respond(path="revision/main", status=401, headers=refused))
    assert machine.pull_error().endswith("rejects the token; set HF_TOKEN to a valid one, or unset it")


def test_a_token_that_cannot_be_sent_is_named(machine: Machine) -> None:
    machine.token = "hf_tökén"
    assert machine.pull_error() == "HF_TOKEN holds characters that no token has; set it again"


def test_a_token_file_that_cannot_be_read_is_named(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.delenv("HUGGING_FACE_HUB_TOKEN", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path))
    hub = Hub(endpoint=machine.hub.url, cache_folder=machine.cache_folder)
    with pytest.raises(
        HubError, match=r"^the token cannot be read: .* is a folder; name a file in it, or set HF_TOKEN$"
    ):
        Puller(hub, ProgressLines(machine.notes.append)).pull(REPOSITORY, None)


def test_a_file_that_was_edited_in_the_cache_is_replaced(machine: Machine) -> None:
    machine.hub.commit(REPO, FILES)
    config = machine.pull().folder / "config.json"
    config.unlink()
    config.write_bytes(b"edited, and of another size")
    assert contents(machine.get().folder) == wanted()


def test_an_unknown_repository_is_named(machine: Machine) -> None:
    host = machine.hub.url.removeprefix("http://")
    assert machine.pull_error() == f"{host} has no repository owner/model that you may read; correct the name"


def test_an_unknown_revision_lists_those_that_are_there(machine: Machine) -> None:
    machine.hub.commit(REPO, FILES, tag="v1")
    machine.hub.commit(REPO, FILES, branch="dev")
    assert (
        machine.pull_error(revision="v2") == "owner/model has no revision v2; its branches and tags are main, dev, v1"
    )


def test_an_unknown_revision_of_a_repository_without_any_is_named(machine: Machine) -> None:
    machine.hub.commit(REPO, FILES)
    machine.hub.faults.append(
        Respond(path=f"/api/models/{REPO}/refs", status=200, body=b'{"branches": [], "tags": []}')
    )
    said = machine.pull_error(revision="v2")
    assert said == "owner/model has no revision v2; name one of its branches, tags or commits"


def test_an_unknown_revision_is_named_if_the_others_are_not_known(machine: Machine) -> None:
    machine.hub.commit(REPO, FILES)
    machine.hub.faults.append(Respond(path="/refs", status=500))
    assert (
        machine.pull_error(revision="v2") == "owner/model has no revision v2; name one of its branches, tags or commits"
    )


@pytest.mark.parametrize("is_absolute", [False, True])
def test_a_revision_leads_to_no_other_folder(machine: Machine, *, is_absolute: bool) -> None:
    commit = machine.hub.commit(REPO, FILES)
    secret = machine.pull().folder.parents[2] / "secret"
    secret.write_text(commit)
    revision = str(secret) if is_absolute else "../../secret"
    machine.hub.commit(REPO, {**FILES, "config.json": b'{"changed": 1}'}, branch=revision)
    assert machine.pull(revision=revision).commit != commit
    assert secret.read_text() == commit
    machine.is_offline = True
    assert f"does not have all files of owner/model@{revision}" in machine.pull_error(revision=revision)


def test_an_unknown_variant_lists_those_that_are_there(machine: Machine) -> None:
    machine.hub.commit(REPO, FILES)
    said = machine.pull_error(ModelFolderError, variant="q8")
    assert said.startswith("owner/model has no graph q8, only ")
    assert "onnx/model_q4.onnx" in said


FORMATS = {
    "consolidated.safetensors": (
        "owner/model has no model that can be served, but a safetensors file; name the folder of a checkpoint, whose "
        "weights are in model.safetensors, or in the files that model.safetensors.index.json lists"
    ),
    "model.safetensors.index": "owner/model has no model; --model needs an .onnx file or model.safetensors, each with",
    "mmproj-model-f16.gguf": "owner/model has no model that can be served, but a GGUF file; rename it so that it ends",
}


@pytest.mark.parametrize("path", FORMATS)
def test_a_repository_without_a_model_says_what_it_has_and_what_to_do(machine: Machine, path: str) -> None:
    machine.hub.commit(REPO, {**DESCRIPTION, path: WEIGHTS})
    assert machine.pull_error(ModelFolderError).startswith(FORMATS[path])
    assert not machine.hub.requests_of(path)


LACKING = {
    "tokenizer.json": "owner/model has no tokenizer.json, but tokenizer.model, a tokenizer in another format; convert",
    "config.json": "owner/model has neither config.json nor genai_config.json; copy it from the repository",
}


@pytest.mark.parametrize("missing", LACKING)
def test_a_repository_that_lacks_a_description_is_rejected_before_anything_is_downloaded(
    machine: Machine, missing: str
) -> None:
    files = {**FILES, "tokenizer.model": b"pieces"}
    machine.hub.commit(REPO, {path: content for path, content in files.items() if path != missing})
    assert machine.pull_error(ModelFolderError).startswith(LACKING[missing])
    assert not [request for request in machine.hub.requests if "/resolve/" in request.path]


def test_a_graph_that_is_no_decoder_is_rejected_before_its_weights_are_downloaded(machine: Machine) -> None:
    encoder = graph("model.onnx_data").replace(b"past_key_values.0.key", b"position_of_token_ids")
    classifier = {**FILES, "onnx/model.onnx": encoder, "config.json": b'{"architectures": ["BertForMaskedLM"]}'}
    machine.hub.commit(REPO, classifier)
    assert machine.pull_error(ModelFolderError).startswith("owner/model/onnx/model.onnx does not continue a text: ")
    assert not machine.hub.requests_of("model.onnx_data")


def test_weights_that_are_not_in_the_repository_are_named(machine: Machine) -> None:
    machine.hub.commit(REPO, {**DESCRIPTION, "model.onnx": graph("../../secret")})
    said = machine.pull_error(ModelFolderError)
    assert said == (
        "owner/model: model.onnx keeps weights in ../../secret, which is not in the repository; "
        "choose another graph or repository"
    )


def small_disk(_folder: Path) -> SimpleNamespace:
    return SimpleNamespace(free=100_000)


def test_a_disk_that_is_too_small_is_found_before_the_download(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", small_disk)
    machine.hub.commit(REPO, FILES)
    assert machine.pull_error() == (
        f"owner/model needs 301.0 KiB more, but the disk of {machine.cache_folder} has 97.7 KiB left; free some space, "
        "or set HF_HOME to a folder on another disk"
    )
    assert not machine.hub.requests_of("model.onnx_data")


def test_a_cache_that_cannot_be_written_is_named(machine: Machine) -> None:
    machine.cache_folder.write_bytes(b"a file")
    machine.hub.commit(REPO, FILES)
    said = machine.pull_error()
    assert str(machine.cache_folder) in said
    assert said.endswith("; set HF_HOME to a folder that can be written")


def test_a_file_system_without_links_holds_the_files_themselves(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_path: Path, _target: str) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "symlink_to", refuse)
    machine.hub.commit(REPO, FILES)
    folder = machine.pull().folder
    assert contents(folder) == wanted()
    assert not any(path.is_symlink() for path in folder.rglob("*"))
    machine.hub.requests.clear()
    assert machine.pull().folder == folder
    assert not [request for request in machine.hub.requests if "/resolve/" in request.path]


def test_a_complete_cache_is_not_written(machine: Machine) -> None:
    """A cache may be on a read-only file system."""

    def entries() -> dict[Path, int]:
        return {path: path.lstat().st_mtime_ns for path in machine.cache_folder.rglob("*")}

    machine.hub.commit(REPO, FILES)
    machine.pull()
    before = entries()
    machine.pull()
    machine.get()
    assert entries() == before


@pytest.mark.parametrize("path", ["revision/main", "config.json"])
@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_hub_is_asked_again_when_it_says(machine: Machine, status: int, path: str) -> None:
    machine.hub.commit(REPO, FILES)
    machine.hub.faults.append(Respond(path=path, status=status, headers={"Retry-After": "7"}, times=2))
    assert contents(machine.pull().folder) == wanted()
    assert machine.pauses == [7, 7]
    assert any(note.endswith(f"is busy, status {status}; trying again in 7 s") for note in machine.notes)


def test_a_rate_limit_is_waited_for(machine: Machine) -> None:
    machine.hub.commit(REPO, FILES)
    headers = {"RateLimit": '"api";r=0;t=55'}
    machine.hub.faults.append(Respond(path="revision/main", status=429, headers=headers))
    machine.pull()
    assert machine.pauses == [55]


def test_a_hub_that_asks_for_an_hour_is_not_waited_for(machine: Machine) -> None:
    machine.hub.commit(REPO, FILES)
    machine.hub.faults.append(Respond(path="revision/main", status=503, headers={"Retry-After": "3600"}))
    assert machine.pull_error(HubUnreachable).endswith("; it asks to retry after 3600 s")
    assert not machine.pauses


def test_a_list_of_files_that_does_not_end_is_given_up(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "_MAX_PAGES", 3)
    commit = machine.hub.commit(REPO, FILES)
    page = {"Link": f'<{machine.hub.url}/api/models/{REPO}/tree/{commit}?cursor=1>; rel="next"'}
    machine.hub.faults.append(Respond(path=f"tree/{commit}", status=200, body=b"[]", headers=page, times=9))
    assert "does not end" in machine.pull_error()
    assert len(machine.hub.requests_of(f"tree/{commit}")) == 3


def test_the_url_of_the_next_page_is_not_followed_to_another_host(machine: Machine) -> None:
    commit = machine.hub.commit(REPO, FILES)
    page = {"Link": f'<{machine.hub.cdn_url}/elsewhere?cursor=0>; rel="next"'}
    machine.hub.faults.append(Respond(path=f"tree/{commit}", status=200, body=b"[]", headers=page))
    machine.pull()
    assert not machine.hub.requests_of("elsewhere")


def test_a_hub_that_stays_busy_is_given_up(machine: Machine) -> None:
    machine.hub.commit(REPO, FILES)
    machine.hub.faults.append(Respond(path="revision/main", status=500, times=99))
    assert "is busy, status 500" in machine.pull_error(HubUnreachable)
    assert machine.pauses == [0, 1, 2, 4, 8]


REFUSALS = {
    "a disabled repository": (
        Respond(path="main", status=403, headers={"X-Error-Message": "Access to this resource is disabled."}),
        "owner/model is disabled (the hub says: Access to this resource is disabled.)",
    ),
    "a token without the right": (
        Respond(path="main", status=403, body=b"your token\x1b[2J is\nread only"),
        "{host} forbids reading owner/model; use a token that may read it (the hub says: your token [2J is read only)",
    ),
    "another status": (
        Respond(path="main", status=418, body=b"tea"),
        "{host} responds with status 418 to a request for owner/model (the hub says: tea)",
    ),
    "a file that is gone": (
        Respond(path="config.json", status=404, headers={"X-Error-Code": "EntryNotFound"}),
        "owner/model has no file config.json at commit {commit}; pull it again",
    ),
    "an address of the CDN that has expired": (
        Respond(path="model.onnx_data", status=403, host="cdn", body=b"expired"),
        "{host} forbids reading owner/model; use a token that may read it (the hub says: expired)",
    ),
    "redirects without end": (
        Respond(path="main", status=302, headers={"Location": "main"}, times=99),
        "the connection to {host} was lost: Exceeded maximum allowed redirects.",
    ),
}


@pytest.mark.parametrize("what", REFUSALS)
def test_what_the_hub_rejects_is_one_sentence(machine: Machine, what: str) -> None:
    fault, said = REFUSALS[what]
    commit = machine.hub.commit(REPO, FILES)
    machine.hub.faults.append(fault)
    assert machine.pull_error() == said.format(host=machine.hub.url.removeprefix("http://"), commit=commit)


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1", "nonsense://127.0.0.1:1"])
def test_a_proxy_that_cannot_be_used_is_named(machine: Machine, monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    close_session()  # it has read the environment already
    monkeypatch.setenv("http_proxy", proxy)
    assert machine.pull_error().endswith("; check HTTPS_PROXY and SSL_CERT_FILE")


def test_a_file_whose_name_could_control_a_terminal_is_not_seen(machine: Machine) -> None:
    machine.hub.commit(REPO, {**FILES, "\x1b[2J.onnx": graph()})
    assert contents(machine.pull().folder) == wanted()


ENTRY = {"type": "file", "path": "model.onnx", "size": 1, "oid": "0" * 40}
HOSTILE = {
    "a list that is no JSON": b"<html>",
    "a list that is no list": b"{}",
    "an entry without a hash": json.dumps([{**ENTRY, "oid": "../../x"}]).encode(),
    "an entry that leads out of the folder": json.dumps([{**ENTRY, "path": "../model.onnx"}]).encode(),
    "an absolute path": json.dumps([{**ENTRY, "path": "/etc/model.onnx"}]).encode(),
    "a negative size": json.dumps([{**ENTRY, "size": -1}]).encode(),
    "an entry that is no object": b"[1]",
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_a_server_that_is_no_hub_is_named(machine: Machine, body: bytes) -> None:
    commit = machine.hub.commit(REPO, FILES)
    machine.hub.faults.append(Respond(path=f"tree/{commit}", status=200, body=body))
    said = machine.pull_error()
    assert said.startswith(f"{machine.hub.url} does not respond like a Hugging Face hub: ")
    assert said.endswith("; check HF_ENDPOINT")


def test_a_commit_that_is_no_hash_is_rejected(machine: Machine) -> None:
    machine.hub.faults.append(Respond(path="revision/main", status=200, body=b'{"sha": "../../../etc"}'))
    assert "has no commit" in machine.pull_error()


@pytest.mark.parametrize("endpoint", ["127.0.0.1:8080", "ftp://hub", "https://"])
def test_an_endpoint_that_is_not_a_url_is_named(machine: Machine, endpoint: str) -> None:
    machine.endpoint = endpoint
    assert machine.pull_error() == (
        f"HF_ENDPOINT: {endpoint!r} is not an http or https URL; use one like https://huggingface.co"
    )


def test_a_file_that_is_longer_than_the_hub_says_is_not_taken(machine: Machine) -> None:
    machine.hub.commit(REPO, FILES)
    machine.hub.faults.append(Respond(path="config.json", status=200, body=b"x" * 100, times=9))
    assert machine.pull_error() == "config.json: the server sends more than 19 bytes; pull it again"


def test_two_processes_download_a_file_once(machine: Machine) -> None:
    machine.hub.commit(REPO, FILES)
    machine.hub.faults.append(Stall(path="model.onnx_data", after=1000))
    first = threading.Thread(target=machine.pull)
    first.start()
    machine.hub.wait_until(lambda hub: any(request.path.endswith("_data") for request in hub.requests))
    second = Machine(machine.hub, machine.cache_folder)
    waiting = threading.Event()

    def note(text: str) -> None:
        second.notes.append(text)
        if "waiting for another process" in text:
            waiting.set()

    hub = Hub(endpoint=machine.hub.url, cache_folder=machine.cache_folder, token="hf_secret")
    other = threading.Thread(target=Puller(hub, ProgressLines(note)).pull, args=(REPOSITORY, None))
    other.start()
    assert waiting.wait(WAIT_S)
    machine.hub.release()
    first.join(WAIT_S)
    other.join(WAIT_S)
    assert contents(machine.snapshots()[0]) == wanted()
    assert len([request for request in machine.hub.requests_of("model.onnx_data") if request.host == "cdn"]) == 1
