"""A graph and the folder that describes its model are found in every layout in which models are kept."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest
from onnx import external_data_helper

from onward_server.errors import ModelFolderError
from onward_server.model.source.folder import ModelFolder
from onward_server.model.source.located_graph import LocatedGraph
from testing.tiny_model import write_tiny_model

COMMIT = "1f3a" * 10
DESCRIPTION = ("config.json", "genai_config.json", "generation_config.json", "tokenizer.json", "chat_template.jinja")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A whole model whose weights lie beside the graph."""
    path = write_tiny_model(tmp_path / "tiny")
    model = onnx.ModelProto.FromString((path / "model.onnx").read_bytes())
    external_data_helper.convert_model_to_external_data(model, location="model.onnx_data", size_threshold=64)
    external_data_helper.write_external_data_tensors(model, str(path))
    (path / "model.onnx").write_bytes(model.SerializeToString())
    return path


def move_graph(folder: Path, subfolder: str) -> Path:
    target = folder / subfolder
    target.mkdir(parents=True)
    for name in ("model.onnx", "model.onnx_data"):
        (folder / name).rename(target / name)
    return target


def to_cache(folder: Path) -> Path:
    """Moves a folder into a repository of the Hugging Face cache, as huggingface-hub lays it out."""
    repository = folder.parent / "hub" / "models--owner--tiny"
    snapshot = repository / "snapshots" / COMMIT
    (repository / "blobs").mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    for file in [path for path in folder.rglob("*") if path.is_file()]:
        blob = repository / "blobs" / hashlib.sha256(file.read_bytes()).hexdigest()
        link = snapshot / file.relative_to(folder)
        link.parent.mkdir(parents=True, exist_ok=True)
        file.rename(blob)
        link.symlink_to(os.path.relpath(blob, link.parent))
    return repository


@pytest.mark.parametrize("subfolder", ["onnx", "cpu_and_mobile/cpu-int4-rtn-block-32-acc-level-4"])
def test_the_graph_is_found_below_the_folder_that_describes_the_model(folder: Path, subfolder: str) -> None:
    graph = move_graph(folder, subfolder) / "model.onnx"
    assert ModelFolder.read(folder).onnx_path == graph
    assert ModelFolder.read(folder).path == folder


def test_a_subfolder_with_a_description_of_its_own_is_used_with_it(folder: Path) -> None:
    """Repositories of Microsoft have one for each variant, and only config.json at the root."""
    target = move_graph(folder, "cpu_and_mobile/cpu-int4")
    for name in DESCRIPTION:
        if (folder / name).exists():
            (folder / name).rename(target / name)
    shutil.copy(target / "config.json", folder)
    assert ModelFolder.read(folder, "cpu-int4").path == target


def test_a_file_is_described_by_its_folder(folder: Path) -> None:
    assert ModelFolder.read(folder / "model.onnx").path == folder


def test_a_file_is_described_by_the_folder_above_if_its_own_does_not(folder: Path) -> None:
    graph = move_graph(folder, "onnx") / "model.onnx"
    assert ModelFolder.read(graph).path == folder


def test_a_subfolder_is_described_by_the_folder_above_if_its_own_does_not(folder: Path) -> None:
    assert ModelFolder.read(move_graph(folder, "onnx")).path == folder


def test_a_file_in_the_working_directory_needs_no_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    move_graph(folder, "onnx")
    monkeypatch.chdir(folder / "onnx")
    assert ModelFolder.read(Path("model.onnx")).path.samefile(folder)


def test_the_description_may_be_a_folder_above_without_a_tokenizer(folder: Path) -> None:
    """The error about the tokenizer then names the folder where it belongs."""
    graph = move_graph(folder, "onnx") / "model.onnx"
    (folder / "tokenizer.json").unlink()
    assert LocatedGraph.find(graph).folder == folder


def test_a_model_in_the_cache_is_served_from_its_snapshot_its_file_or_its_repository(folder: Path) -> None:
    """There, the graph and its data are links to files elsewhere."""
    move_graph(folder, "onnx")
    repository = to_cache(folder)
    snapshot = repository / "snapshots" / COMMIT
    for location in (snapshot, snapshot / "onnx" / "model.onnx", repository):
        found = ModelFolder.read(location)
        assert (found.path, found.onnx_path) == (snapshot, snapshot / "onnx" / "model.onnx")


def test_a_subfolder_that_may_not_be_read_matters_only_without_a_graph(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Volumes have a `lost+found` that only root may read. Tests may run as root, so this is a fake."""
    (folder / "lost+found").mkdir()
    list_folder = Path.iterdir

    def iterdir(path: Path) -> Iterator[Path]:
        if path.name == "lost+found":
            raise PermissionError(13, "Permission denied", str(path))
        return iter(list(list_folder(path)))

    monkeypatch.setattr(Path, "iterdir", iterdir)
    assert ModelFolder.read(folder).onnx_path.name == "model.onnx"
    (folder / "model.onnx").unlink()
    with pytest.raises(ModelFolderError, match=r"may not read .*lost\+found"):
        ModelFolder.read(folder)


def test_hidden_files_are_no_graphs(folder: Path) -> None:
    """Apple leaves `._model.onnx` beside each file that it copies to another file system."""
    (folder / "._model.onnx").write_bytes(b"\0\5\x16\7")
    (folder / ".cache").mkdir()
    (folder / ".cache" / "model.onnx").write_bytes(b"-")
    assert ModelFolder.read(folder).choice.others == ()


def test_names_that_are_not_utf8_do_not_matter_unless_they_are_above_the_model(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONNX Runtime cannot open a path with such a name, and a log cannot show it."""
    (folder / os.fsdecode(b"caf\xe9.onnx")).touch()
    assert ModelFolder.read(folder).onnx_path.name == "model.onnx"
    above = folder.parent / os.fsdecode(b"caf\xe9")
    above.mkdir()
    folder.rename(above / "tiny")
    monkeypatch.chdir(above)
    with pytest.raises(ModelFolderError, match=r"caf\\udce9/tiny' is not UTF-8 text; rename the folder"):
        ModelFolder.read(Path("tiny"))


def test_a_variant_may_be_an_absolute_path_in_the_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = move_graph(folder, "onnx") / "model.onnx"
    monkeypatch.chdir(folder.parent)
    assert LocatedGraph.find(Path(folder.name), str(path)).path == Path(folder.name) / path.relative_to(folder)


def test_a_variant_outside_of_the_folder_is_rejected_as_it_is_given(folder: Path) -> None:
    with pytest.raises(
        ModelFolderError, match=r"has no graph /elsewhere/model\.onnx, only model\.onnx; name one after"
    ):
        LocatedGraph.find(folder, "/elsewhere/model.onnx")


def test_a_variant_of_a_file_is_rejected(folder: Path) -> None:
    with pytest.raises(ModelFolderError, match=r"is a file, so q4 cannot be chosen in it; name its folder in --model"):
        ModelFolder.read(folder / "model.onnx", "q4")


def test_a_folder_with_too_many_files_is_rejected(folder: Path) -> None:
    """Somebody may name the root of a file system."""
    for number in range(11):
        (folder / str(number)).mkdir()
        for name in range(1000):
            (folder / str(number) / str(name)).touch()
    with pytest.raises(ModelFolderError, match="holds more than 10,000 files; name the folder of one model"):
        ModelFolder.read(folder)


def test_the_only_snapshot_needs_no_branch(folder: Path) -> None:
    """A download of a commit by its hash leaves refs/ without `main`."""
    repository = to_cache(folder)
    (repository / "refs" / "main").unlink()
    assert ModelFolder.read(repository).path == repository / "snapshots" / COMMIT


def test_the_whole_cache_is_rejected_with_the_folders_in_it(folder: Path) -> None:
    """The only graph in it may belong to another model than the one that the user means."""
    cache = to_cache(folder).parent
    with pytest.raises(ModelFolderError, match=r"name one of its folders: models--owner--tiny$"):
        ModelFolder.read(cache)


def test_other_variants_that_are_pointers_or_empty_do_not_matter(folder: Path) -> None:
    """`git lfs pull --include model.onnx*` leaves them."""
    (folder / "model_q4.onnx").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 1\n")
    (folder / "model_fp16.onnx").touch()
    assert ModelFolder.read(folder).onnx_path.name == "model.onnx"
    with pytest.raises(ModelFolderError, match=r"model_q4.onnx is a Git LFS pointer"):
        ModelFolder.read(folder, "q4")


def test_data_beside_the_file_that_the_graph_links_to_is_accepted(folder: Path, tmp_path: Path) -> None:
    """ONNX Runtime's rule: under the folder of the model file, or of the file that it links to."""
    for name in ("model.onnx", "model.onnx_data"):
        (tmp_path / "elsewhere").mkdir(exist_ok=True)
        (folder / name).rename(tmp_path / "elsewhere" / name)
        (folder / name).symlink_to(tmp_path / "elsewhere" / name)
    assert ModelFolder.read(folder).weight_bytes > 0


def test_data_elsewhere_is_rejected_even_beside_other_files_of_the_model(folder: Path, tmp_path: Path) -> None:
    """A folder may link to its graph in one place and to secrets in another."""
    (tmp_path / "elsewhere").mkdir()
    (folder / "model.onnx_data").rename(tmp_path / "elsewhere" / "data")
    (folder / "model.onnx_data").symlink_to(tmp_path / "elsewhere" / "data")
    (tmp_path / "graphs").mkdir()
    (folder / "model.onnx").rename(tmp_path / "graphs" / "model.onnx")
    (folder / "model.onnx").symlink_to(tmp_path / "graphs" / "model.onnx")
    with pytest.raises(ModelFolderError, match="elsewhere/data, outside the folder"):
        ModelFolder.read(folder)
