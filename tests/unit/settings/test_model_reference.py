"""`--model` takes folders, files and names of the hub; what exists on disk is a path."""

from pathlib import Path

import pytest

from onward_server.settings.model_reference import HubRepository, ModelReference


@pytest.fixture(autouse=True)
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Contains folders and files that look like the other forms."""
    for folder in ("phi", "phi/onnx", "owner/name", "a:b", "my phi", "hub/models--Own--Nam.e/snapshots/1f3a/onnx"):
        (tmp_path / folder).mkdir(parents=True)
    for file in (
        "phi/my phi.Q4_K_M.gguf",
        "phi/model.onnx",
        "phi/onnx/model_q4.onnx",
        "hub/models--Own--Nam.e/snapshots/1f3a/onnx/model.onnx",
    ):
        (tmp_path / file).touch()
    (tmp_path / "phi/link").symlink_to("nothing")
    monkeypatch.chdir(tmp_path)
    return tmp_path


PATHS = {
    "phi": ("phi", "phi", None),
    "./phi/": ("phi", "phi", None),
    "x=phi": ("x", "phi", None),
    "phi:q4": ("phi", "phi", "q4"),
    "x=phi:cpu_and_mobile/cpu-int4": ("x", "phi", "cpu_and_mobile/cpu-int4"),
    "phi:onnx/model_q4.onnx": ("phi", "phi", "onnx/model_q4.onnx"),
    "phi/model.onnx": ("phi", "phi/model.onnx", None),
    "phi/onnx/model_q4.onnx": ("phi", "phi/onnx/model_q4.onnx", None),
    "phi/my phi.Q4_K_M.gguf": ("my-phi.Q4_K_M", "phi/my phi.Q4_K_M.gguf", None),
    "x=phi/my phi.Q4_K_M.gguf:fp32": ("x", "phi/my phi.Q4_K_M.gguf", "fp32"),
    "missing/phi.gguf": ("phi", "missing/phi.gguf", None),
    "missing/model.safetensors": ("model.safetensors", "missing/model.safetensors", None),
    "phi/onnx": ("phi", "phi/onnx", None),
    "owner/name": ("name", "owner/name", None),
    "owner/name:fp16": ("name", "owner/name", "fp16"),
    "a:b": ("a:b", "a:b", None),
    "a:b:c": ("a:b", "a:b", "c"),
    "my phi": ("my-phi", "my phi", None),
    "x=phi/link": ("x", "phi/link", None),
    "phi/missing.onnx": ("phi", "phi/missing.onnx", None),
    "gpt2": ("gpt2", "gpt2", None),
    "/missing/a/folder": ("folder", "/missing/a/folder", None),
    "./missing/folder": ("folder", "missing/folder", None),
    "hub/models--Own--Nam.e": ("Nam.e", "hub/models--Own--Nam.e", None),
    "hub/models--Own--Nam.e/snapshots/1f3a": ("Nam.e", "hub/models--Own--Nam.e/snapshots/1f3a", None),
    "hub/models--Own--Nam.e/snapshots/1f3a/onnx/model.onnx": (
        "Nam.e",
        "hub/models--Own--Nam.e/snapshots/1f3a/onnx/model.onnx",
        None,
    ),
}


@pytest.mark.parametrize("text", PATHS)
def test_a_path_is_a_path(text: str) -> None:
    model_id, path, variant = PATHS[text]
    assert ModelReference.parse(text) == ModelReference(model_id=model_id, location=Path(path), variant=variant)


REPOSITORIES = {
    "onnx-community/Qwen3-0.6B-ONNX": ("Qwen3-0.6B-ONNX", None, None),
    "x=onnx-community/Qwen3-0.6B-ONNX": ("x", None, None),
    "onnx-community/Qwen3-0.6B-ONNX:q4f16": ("Qwen3-0.6B-ONNX", None, "q4f16"),
    "onnx-community/Qwen3-0.6B-ONNX@refs/pr/3": ("Qwen3-0.6B-ONNX", "refs/pr/3", None),
    "onnx-community/Qwen3-0.6B-ONNX:Q4_K_M": ("Qwen3-0.6B-ONNX", None, "Q4_K_M"),
    "x=onnx-community/Qwen3-0.6B-ONNX@v1.0:onnx/model.onnx": ("x", "v1.0", "onnx/model.onnx"),
}


@pytest.mark.parametrize("text", REPOSITORIES)
def test_a_name_of_the_hub_has_an_owner(text: str) -> None:
    model_id, revision, variant = REPOSITORIES[text]
    repository = HubRepository(owner="onnx-community", name="Qwen3-0.6B-ONNX", revision=revision)
    assert ModelReference.parse(text) == ModelReference(model_id=model_id, location=repository, variant=variant)


WRONG = {
    "": "'' names no model; use [ID=]FOLDER[:VARIANT], [ID=]FILE.onnx, [ID=]FILE.gguf[:VARIANT] or "
    "[ID=]OWNER/NAME[@REVISION][:VARIANT]",
    "x=": "'x=' names no model; use [ID=]FOLDER[:VARIANT], [ID=]FILE.onnx, [ID=]FILE.gguf[:VARIANT] or "
    "[ID=]OWNER/NAME[@REVISION][:VARIANT]",
    "phi:": "'phi:' has no variant after the colon; use phi:VARIANT or phi",
    "phi/model.onnx:q4": "'phi/model.onnx:q4' has a variant after a file; name the file alone, or its folder",
    "o/n@": "'o/n@' neither exists here nor is OWNER/NAME[@REVISION][:VARIANT]",
    "o/n:": "'o/n:' neither exists here nor is OWNER/NAME[@REVISION][:VARIANT]",
    "o/n@a@b": "'o/n@a@b' neither exists here nor is OWNER/NAME[@REVISION][:VARIANT]",
    "a b=phi": "'a b' is not a model id; an id is printable and has no spaces. Set one with ID=phi",
    "/": "'' is not a model id; an id is printable and has no spaces. Set one with ID=/",
    "/m/caf\udce9": "'/m/caf\\udce9' is a path that is not UTF-8 text; rename the file or folder",
    "https://huggingface.co/o/n/tree/main": "'https://huggingface.co/o/n/tree/main' is a URL; use the name of "
    "the repository, o/n",
    "hf.co/o/n": "'hf.co/o/n' is a URL; use the name of the repository, o/n",
    "hf://o/n": "'hf://o/n' is a URL; use the name of the repository, o/n",
}


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_form_says_what_is_allowed(text: str) -> None:
    with pytest.raises(ValueError) as raised:  # noqa: PT011  the sentence is compared
        ModelReference.parse(text)
    assert str(raised.value) == WRONG[text]


def test_a_file_in_the_working_directory_has_the_name_of_its_folder(
    working_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(working_directory / "phi" / "onnx")
    assert ModelReference.parse("model_q4.onnx").model_id == "phi"
    monkeypatch.chdir(working_directory / "phi")
    assert ModelReference.parse("model.onnx").model_id == "phi"
    assert ModelReference.parse(".").model_id == "phi"


def test_the_home_folder_is_found_behind_an_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell leaves the tilde of `x=~/phi` as it is."""
    monkeypatch.setenv("HOME", str(tmp_path))
    assert ModelReference.parse("x=~/phi").location == tmp_path / "phi"
