"""Checkpoints and GGUF files are served: exported at the first start, and from the cache afterwards."""

import asyncio
import fcntl
import signal
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path

import pytest

from onward.v1.sampling_pb2 import SamplingParams
from onward_client import Client, UnavailableError
from onward_server.errors import StartupError
from onward_server.served_model import load_models
from onward_server.settings.server import Settings
from tests.command import onward_on_a_small_disk
from tests.exports.committed_models import CommittedModel, committed_checkpoints, committed_gguf_files
from tests.hub_machine import Machine, hub_machine, until_served
from tests.integration.exactness import greedy, ids_of
from tests.model_serving import Serve
from tests.serving import Served
from tests.waiting import WAIT_S

REPO = "owner/tiny"


@pytest.fixture(scope="module")
def llama() -> CommittedModel:
    return next(checkpoint for checkpoint in committed_checkpoints() if checkpoint.name == "llama")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("ONWARD_CACHE_DIR", str(folder))
    return folder


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path, llama: CommittedModel) -> Generator[Machine]:
    with hub_machine(tmp_path, monkeypatch) as machine:
        machine.hub.commit(REPO, files_of(llama.extract(tmp_path)))
        assert not cache.exists()
        yield machine


def files_of(folder: Path) -> Mapping[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


async def outputs_of(served: Served, prompts: Sequence[Sequence[int]]) -> list[tuple[int, ...]]:
    """What follows each prompt, all at once."""
    requests = [greedy(prompt, 40) for prompt in prompts]
    for request in requests:
        request.sampling.MergeFrom(SamplingParams(ignore_eos=True))
    responses = await asyncio.gather(*map(served.completions.Complete, requests))
    return [tuple(ids_of(response)) for response in responses]


def exports_in(cache: Path) -> list[Path]:
    return sorted(path for path in (cache / "exported").iterdir() if path.is_dir())


async def test_a_checkpoint_folder_is_served_with_the_tokens_of_transformers(
    tmp_path: Path, cache: Path, serve: Serve, llama: CommittedModel, caplog: pytest.LogCaptureFixture
) -> None:
    folder = llama.extract(tmp_path)
    settings = {"model": (f"m={folder}:fp32",), "cache_dir": cache, "context_length": 256, "slots": 4}
    with caplog.at_level("INFO"):
        for _ in range(2):
            async with serve(folder, **settings) as served:
                assert await outputs_of(served, llama.prompts) == list(llama.outputs)
    assert caplog.text.count(f"model m: exporting {folder} as fp32, which is done once for a model") == 1
    (export,) = exports_in(cache)
    assert caplog.text.count(f"serving {export}/model.onnx (exported from {folder} as fp32), fp32, ") == 2


async def test_a_gguf_file_is_served_with_the_tokens_of_its_dequantized_weights(
    tmp_path: Path, cache: Path, serve: Serve
) -> None:
    committed = next(file for file in committed_gguf_files() if file.name == "llama-q4-k-m")
    path = committed.extract(tmp_path)
    settings = {"model": (f"{path}:fp32",), "cache_dir": cache, "context_length": 256, "slots": 4}
    async with serve(path, **settings) as served:
        assert await outputs_of(served, committed.prompts) == list(committed.outputs)


async def test_a_checkpoint_that_has_changed_is_exported_again(
    tmp_path: Path, cache: Path, serve: Serve, llama: CommittedModel
) -> None:
    folder = llama.extract(tmp_path)
    settings = {"cache_dir": cache, "context_length": 64, "slots": 2}
    async with serve(folder, **settings):
        (old,) = exports_in(cache)
    (folder / "chat_template.jinja").write_text("{{ messages[0].content }}")
    async with serve(folder, **settings):
        (new,) = exports_in(cache)
    assert new != old
    assert (new / "chat_template.jinja").is_file()


def test_a_pulled_checkpoint_is_exported_and_served_without_the_hub(machine: Machine, cache: Path) -> None:
    pulled = machine.pull(f"{REPO}:int4")
    assert pulled.returncode == 0, pulled.stderr
    assert Path(pulled.stdout.strip()) == exports_in(cache)[0]
    commit = machine.hub.requests_of("model.safetensors")[0].path.split("/")[4]
    lines = pulled.stderr.splitlines()
    assert f"onward: {REPO}: taking the safetensors files of commit {commit}, to export them as int4" in lines
    assert any(line.startswith("onward: weights: ") for line in lines)
    assert lines[-1].endswith(f" serve --model {REPO}:int4`")

    machine.hub.close()
    machine.set_variable("HF_HUB_OFFLINE", "1")
    with machine.serving(f"{REPO}:int4") as log:
        said = "".join(until_served(log))
    assert f"(exported from {REPO} as int4), int4" in said
    assert "exporting" not in said.replace(f"exporting {REPO} as int4: 0", "")


def test_a_gguf_file_of_a_repository_is_named_by_its_quantization(
    tmp_path: Path, machine: Machine, cache: Path
) -> None:
    committed = next(file for file in committed_gguf_files() if file.name == "llama-q4-k-m")
    content = committed.extract(tmp_path).read_bytes()
    machine.hub.commit("owner/gguf", {"llama-Q4_K_M.gguf": content, "llama-Q8_0.gguf": b"another one"})
    pulled = machine.pull("owner/gguf:q4_k_m")
    (export,) = exports_in(cache)
    assert pulled.stdout == f"{export}\n", pulled.stderr
    assert export.name.startswith("llama-Q4_K_M-int8-")
    assert not machine.hub.requests_of("llama-Q8_0.gguf")


def test_a_server_says_that_it_loads_while_it_waits_for_an_export_and_ends_at_a_signal(
    machine: Machine, cache: Path
) -> None:
    (cache / "exported").mkdir(parents=True, mode=0o700)
    with (cache / "exported" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with machine.start("serve", "--model", REPO, "--listen", "127.0.0.1:0") as process:
            assert process.stderr is not None
            log = iter(process.stderr)
            address = next(line for line in log if "listening on" in line).split("listening on ")[1].split(";")[0]
            assert any("waiting for another process that exports to" in line for line in log)
            with Client(address, max_retries=0) as client, pytest.raises(UnavailableError) as caught:
                client.complete("Hello")
            assert caught.value.reason == "MODEL_LOADING"
            process.send_signal(signal.SIGTERM)
            assert process.wait(WAIT_S) == 0
    with machine.serving(REPO) as log:
        assert any("(exported from owner/tiny as int8, the default), int8" in line for line in until_served(log))


def truncated(weights: bytes) -> bytes:
    return weights[:-1]


def with_a_header_of_exabytes(weights: bytes) -> bytes:
    return (1 << 62).to_bytes(8, "little") + weights[8:]


def a_git_lfs_pointer(_: bytes) -> bytes:
    return b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 134515008\n"


@pytest.mark.parametrize("damage", [truncated, with_a_header_of_exabytes, a_git_lfs_pointer])
def test_a_broken_checkpoint_is_an_error_of_one_sentence_about_its_file(
    tmp_path: Path, cache: Path, llama: CommittedModel, damage: Callable[[bytes], bytes]
) -> None:
    weights = llama.extract(tmp_path) / "model.safetensors"
    weights.write_bytes(damage(weights.read_bytes()))
    with pytest.raises(StartupError) as raised:
        load_models(Settings.model_validate({"model": (str(weights.parent),), "cache_dir": cache}))
    assert str(raised.value).startswith(str(weights))
    assert "\n" not in str(raised.value)
    assert exports_in(cache) == []


def test_a_full_disk_ends_the_start_with_one_sentence_and_leaves_nothing(
    tmp_path: Path, cache: Path, llama: CommittedModel
) -> None:
    folder = llama.extract(tmp_path)
    done = onward_on_a_small_disk(50_000, "serve", "--model", str(folder), "--listen", "127.0.0.1:0")
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("onward: the disk of ")
    assert last.endswith(f" (exports are kept in {cache}/exported, which --cache-dir sets)")
    assert "Traceback" not in done.stderr
    assert exports_in(cache) == []
