"""Wrong set-ups that newcomers make. For each, the `onward` command prints one sentence that says what to do."""

import re
import shutil
import socket
from pathlib import Path

import pytest

from onward_server.errors import StartupError
from onward_server.model.tokenizer import Tokenizer
from onward_server.served_model import load_models
from onward_server.settings.server import Settings
from tests.certificates import write_certificates
from tests.command import onward, onward_serve, onward_without_privileges

LFS_POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 134515008\n"


@pytest.fixture
def folder(tiny_folder: Path, tmp_path: Path) -> Path:
    """A model folder that the test may spoil."""
    return Path(shutil.copytree(tiny_folder, tmp_path / "model"))


def refusal(*words: str) -> str:
    """The last line of a server that does not start; asserts the exit code, and that there is no traceback."""
    served = onward_without_privileges("serve", *words)
    assert served.returncode == 1
    assert "Traceback" not in served.stderr
    return served.stderr.splitlines()[-1]


def test_a_model_file_that_the_user_may_not_read_is_named_with_the_uid(folder: Path) -> None:
    file = folder / "tokenizer.json"
    file.chmod(0o200)

    assert re.fullmatch(
        rf"onward: uid \d+ may not read {file} \(owner \d+, mode 0200\); run as another user, or allow it, for example "
        rf"with `chmod o\+r {file}`",
        refusal("--listen", "127.0.0.1:0", "--model", str(folder)),
    )


def test_a_model_folder_that_the_user_may_not_enter_is_named_with_the_uid(folder: Path) -> None:
    parent = folder.parent
    parent.chmod(0o600)
    sentence = refusal("--listen", "127.0.0.1:0", "--model", str(folder))
    parent.chmod(0o700)

    assert re.fullmatch(
        rf"onward: uid \d+ may not enter the folder {parent} \(owner \d+, mode 0600\), so it cannot read {folder}; "
        rf"run as another user, or allow it, for example with `chmod o\+x {parent}`",
        sentence,
    )


def test_a_model_folder_that_the_user_may_not_list_is_named_with_the_uid(folder: Path) -> None:
    folder.chmod(0o300)
    sentence = refusal("--listen", "127.0.0.1:0", "--model", str(folder))
    folder.chmod(0o700)

    assert re.fullmatch(
        rf"onward: uid \d+ may not read {folder} \(owner \d+, mode 0300\); .* `chmod o\+rx {folder}`", sentence
    )


def test_a_taken_port_is_named_before_the_model_is_read() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        sentence = refusal("--listen", address, "--model", "/no/such/model")

    assert sentence == (
        f"onward: --listen: {address} is in use by another process; stop that one (`ss -ltnp` lists it), or choose "
        "another port"
    )


def test_a_wrong_certificate_is_named_before_the_model_is_read(tmp_path: Path) -> None:
    write_certificates(tmp_path)
    files = ("--tls-cert", f"{tmp_path}/server.crt", "--tls-key", f"{tmp_path}/client.key")

    assert refusal("--listen", "127.0.0.1:0", "--model", "/no/such/model", *files) == (
        f"onward: --tls-key: {tmp_path}/client.key is not the private key of {tmp_path}/server.crt; use the key that "
        "the certificate was made with"
    )


def test_a_git_lfs_pointer_is_named_for_what_it_is(folder: Path) -> None:
    (folder / "model.onnx").write_text(LFS_POINTER)

    assert refusal("--listen", "127.0.0.1:0", "--model", str(folder)) == (
        f"onward: {folder}/model.onnx is a Git LFS pointer, not the file itself; run `git lfs pull` in its repository, "
        "or download the file again"
    )


def test_a_plaintext_client_of_a_server_with_tls_is_told_so(tiny_folder: Path, tmp_path: Path) -> None:
    write_certificates(tmp_path)
    tls = ("--tls-cert", f"{tmp_path}/server.crt", "--tls-key", f"{tmp_path}/server.key")
    with onward_serve(tiny_folder, *tls) as serving:
        wrong = onward("complete", "--target", serving.address, "Hello")
        right = onward("health", "--target", serving.address, "--tls-ca", f"{tmp_path}/ca.crt")

    (sentence,) = wrong.stderr.splitlines()
    assert wrong.returncode == 1
    assert (
        "; the server may expect TLS: connect with tls=True, or with tls=TLS(ca=...) for a private authority "
        "(`--tls-ca` on the command line) ("
    ) in sentence
    assert (right.returncode, right.stdout) == (0, "SERVING\n")


def test_a_lack_of_memory_while_loading_is_one_sentence(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Tokenizer, "load", refuse)
    with pytest.raises(StartupError, match=r"memory for loading the models ran out: .* or serve a smaller model"):
        load_models(Settings.model_validate({"model": (str(folder),)}))
