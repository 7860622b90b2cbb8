from pathlib import Path

import pytest

from onward_server.cli import main


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (
            "owner/name",
            "owner/name does not exist here; if it is a repository of the Hugging Face hub, `onward pull own",
        ),
        ("https://huggingface.co/owner/name", "is a URL; use the name of the repository, owner/name"),
        ("missing", "missing does not exist; correct the path, or mount the folder that holds it"),
        ("tiny/model.safetensors", "tiny/model.safetensors is one file of a checkpoint; name its folder, tiny"),
        ("tiny/model.safetensors.index.json", "does not exist"),
        ("other/model.onnx", "other/model.onnx is an ONNX graph, which needs no export; serve it with `onward serve"),
        ("other/notes.txt", "other/notes.txt is not a GGUF file; name a GGUF file, or the folder of a checkpoint"),
        ("other/empty.gguf", "other/empty.gguf is empty; download or copy it again"),
        ("loop", "cannot read loop: Too many levels of symbolic links"),
        ("pytorch", "pytorch has no config.json; name the folder of a checkpoint, or a GGUF file"),
        ("several", "several has 2 GGUF files; name one of them: a.gguf, b.gguf"),
    ],
)
def test_what_cannot_be_exported_is_named_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], source: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (
        "tiny/model.safetensors",
        "other/model.onnx",
        "other/notes.txt",
        "pytorch/pytorch_model.bin",
        "several/a.gguf",
        "several/b.gguf",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("something")
    (tmp_path / "other/empty.gguf").touch()
    (tmp_path / "loop").symlink_to("loop")
    code = main(["export", source, "new"])

    printed = capsys.readouterr()
    assert (code, printed.out) == (1, "")
    (line,) = printed.err.splitlines()
    assert line.startswith("onward: ")
    assert said in line
    assert not (tmp_path / "new").exists()
