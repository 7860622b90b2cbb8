"""The image's install steps, in a fresh environment of this interpreter; it builds no image and starts no container."""

import subprocess
import venv
from pathlib import Path

import pytest

from tests.packaging import dockerfile

ROOT = Path(__file__).parents[2]
BUILD, IMAGE = dockerfile.stages(ROOT / "Dockerfile")


def _output(*command: str | Path, cwd: Path = ROOT) -> str:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the build stage was carried out."""
    if not (ROOT / "models/pocket/served/model.onnx").is_file():
        pytest.skip("the image holds models/pocket/served, which is not trained yet")
    root = tmp_path_factory.mktemp("image")
    venv.create(root / "usr", with_pip=True)
    reached = subprocess.run(
        [root / "usr/bin/pip", "download", "--quiet", "--no-deps", "--dest", root, "packaging"],
        capture_output=True,
        text=True,
        check=False,
    )
    if reached.returncode:
        pytest.skip(f"the image's install steps need a package index: {reached.stderr.splitlines()[-1]}")
    tracked = _output("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z").split("\0")
    dockerfile.build(
        BUILD,
        context=ROOT,
        root=root,
        tracked=[Path(name) for name in tracked if name],
        path=f"{root / 'usr/bin'}:/usr/bin:/bin",
    )
    return root


def test_the_installed_command_runs(root: Path) -> None:
    assert "serve" in _output(root / "opt/onward/bin/onward", "--help", cwd=root)


def test_the_installed_server_carries_the_embedded_model(root: Path) -> None:
    find = "from onward_server.settings.server import Settings; print(*Settings().model_folders.values())"
    folder = Path(_output(root / "opt/onward/bin/python", "-c", find, cwd=root).strip())
    assert folder.is_relative_to(root)
    assert {file.name for file in folder.iterdir()} >= {"model.onnx", "config.json", "tokenizer.json"}


def test_the_installed_packages_are_typed_and_the_client_carries_the_protocol(root: Path) -> None:
    (packages,) = (root / "opt/onward/lib").glob("python*/site-packages")
    assert all((packages / name / "py.typed").is_file() for name in ("onward_server", "onward", "onward_client"))
    protocol = {file.name for file in (ROOT / "proto/onward/v1").iterdir()}
    assert {file.name for file in (packages / "onward/v1").glob("*.proto")} == protocol


def test_installed_requirements_agree(root: Path) -> None:
    assert "No broken requirements found" in _output(root / "opt/onward/bin/pip", "check", cwd=root)


def test_the_build_context_holds_what_is_copied_and_lets_nothing_else_in() -> None:
    copied = {source for name, arguments in BUILD if name == "COPY" for source in arguments.split()[:-1]}
    first, *allowed = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] in "*!"]
    assert first == "*"
    kept = [line.lstrip("!") for line in allowed if line.startswith("!")]
    assert all(any(path.startswith(source.rstrip("/")) for path in kept) for source in copied)
    assert all(any(path.startswith(source.rstrip("/")) for source in copied) for path in kept)


def test_the_container_is_nobody_and_tells_its_health() -> None:
    said = dict(IMAGE)
    assert said["USER"] == "10001:10001"
    assert said["HEALTHCHECK"].endswith('CMD ["onward", "health"]')
    assert said["ENTRYPOINT"] == '["onward"]'
    assert "--insecure" not in said["CMD"]


def test_both_stages_start_from_one_image() -> None:
    assert BUILD[0][1].split()[0] == IMAGE[0][1]
