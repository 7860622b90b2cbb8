"""The two wheels, built from the files that the image is built from: contents, metadata, and what an installation does.

Nothing here needs a package index: the installation takes its dependencies from this interpreter's environment.
"""

import email
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from email.message import Message
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.packaging.dockerfile import copied_sources, wheel_command
from tests.waiting import WAIT_S

ROOT = Path(__file__).parents[2]
README = {"onward_server": ROOT / "README.md", "onward_client": ROOT / "clients/python/README.md"}
PACKAGES = {"onward_server": {"onward_server"}, "onward_client": {"onward", "onward_client"}}
every_wheel = pytest.mark.parametrize("name", PACKAGES)


def _output(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    return done.stdout


def _pip(*words: str | Path, cwd: Path) -> str:
    return _output(sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *words, cwd=cwd)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheels by name, built by the Dockerfile's command in a folder that holds only what the Dockerfile copies."""
    context = tmp_path_factory.mktemp("context")
    listed = _output("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", cwd=ROOT).split("\0")
    sources = tuple(copied_sources())
    for name in listed:
        if name.startswith(sources) and (ROOT / name).exists():
            (context / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, context / name, follow_symlinks=False)
    _pip("wheel", "--no-index", *wheel_command(), cwd=context)
    return {wheel.name.partition("-")[0]: wheel for wheel in context.glob("wheels/*.whl")}


@pytest.fixture(scope="module")
def names(wheels: dict[str, Path]) -> dict[str, set[str]]:
    """The names of the files in each wheel."""
    return {name: set(ZipFile(wheel).namelist()) for name, wheel in wheels.items()}


@pytest.fixture(scope="module")
def environment(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that the two wheels alone were installed into."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    _pip("--python", folder / "bin/python", "install", "--no-index", "--no-deps", *wheels.values(), cwd=folder)
    return folder


@pytest.fixture(scope="module")
def bin_folder(environment: Path, names: dict[str, set[str]]) -> Path:
    """The environment's commands, with this interpreter's dependencies at hand but not its editable packages."""
    (site_packages,) = environment.glob("lib/python*/site-packages")
    assert names.keys() == PACKAGES.keys()
    # A path in a .pth file is appended to sys.path; .pth files in that path are not read.
    (site_packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return environment / "bin"


@pytest.fixture
def cwd(tmp_path: Path) -> Path:
    """A user's folder whose own packages are called as folders of this repository are."""
    for name in ("benchmarks", "clients", "models", "service", "tests"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise ImportError('this is the package of a user')")
    return tmp_path


def _metadata(wheel: Path) -> Message:
    with ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return email.message_from_string(archive.read(name).decode())


def test_there_are_two_wheels(wheels: dict[str, Path]) -> None:
    assert wheels.keys() == PACKAGES.keys()


@every_wheel
def test_a_wheel_says_whose_it_is_and_under_which_license(wheels: dict[str, Path], name: str) -> None:
    metadata = _metadata(wheels[name])
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["License-File"] == "LICENSE"
    assert metadata["Author"] == "the onward authors"
    assert metadata["Requires-Python"] == ">=3.11"
    assert not [key for key in metadata if key in {"Home-page", "Download-URL", "Project-URL", "Author-email"}]


@every_wheel
def test_a_wheel_has_classifiers_and_its_readme_as_description(wheels: dict[str, Path], name: str) -> None:
    metadata = _metadata(wheels[name])
    assert {"Typing :: Typed", "Programming Language :: Python :: 3.11"} <= set(metadata.get_all("Classifier", []))
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata.get_payload() == README[name].read_text(encoding="utf-8")


@every_wheel
def test_a_wheel_holds_its_packages_typed_and_the_license(names: dict[str, set[str]], name: str) -> None:
    tops = {file.partition("/")[0] for file in names[name]}
    (info,) = (top for top in tops if top.endswith(".dist-info"))
    assert tops == {*PACKAGES[name], info}
    assert {f"{package}/py.typed" for package in PACKAGES[name]} <= names[name]
    assert f"{info}/licenses/LICENSE" in names[name]


def test_the_server_carries_the_embedded_model(names: dict[str, set[str]]) -> None:
    served = {f"onward_server/pocket/{file.name}" for file in (ROOT / "models/pocket/served").iterdir()}
    assert "onward_server/pocket/model.onnx" in served
    assert {name for name in names["onward_server"] if name.startswith("onward_server/pocket/")} == served


def test_the_client_carries_the_protocol(names: dict[str, set[str]]) -> None:
    protocol = {f"onward/v1/{file.name}" for file in (ROOT / "proto/onward/v1").glob("*.proto")}
    assert protocol
    assert {name for name in names["onward_client"] if name.endswith(".proto")} == protocol


def test_an_installation_adds_three_packages(environment: Path) -> None:
    (site_packages,) = environment.glob("lib/python*/site-packages")
    added = {entry.name for entry in site_packages.iterdir() if not entry.name.endswith((".dist-info", ".pth"))}
    assert added == {"onward", "onward_client", "onward_server"}


def test_the_command_and_the_module_say_the_version(bin_folder: Path, cwd: Path) -> None:
    (version,) = re.findall(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert _output(bin_folder / "onward", "--version", cwd=cwd).split()[-1] == version
    assert _output(bin_folder / "python", "-m", "onward_server", "--version", cwd=cwd).split()[-1] == version


@pytest.fixture
def address(bin_folder: Path, cwd: Path) -> Iterator[str]:
    """Where an installed server listens that serves its embedded model."""
    command = [bin_folder / "onward", "serve", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, cwd=cwd, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            found = (re.search(r" on (127\.0\.0\.1:\d+); try: ", line) for line in process.stderr)
            yield next(filter(None, found))[1]
        finally:
            process.terminate()
            process.communicate()


def test_an_installed_server_serves_the_installed_command(address: str, bin_folder: Path, cwd: Path) -> None:
    onward = bin_folder / "onward"
    assert "SERVING" in _output(onward, "health", "--timeout", str(WAIT_S), "--target", address, cwd=cwd)
    assert _output(onward, "complete", "--target", address, "Hello!", cwd=cwd).startswith("Hello!")
    module = (bin_folder / "python", "-m", "onward_server")
    assert _output(*module, "complete", "--target", address, "Hello!", cwd=cwd).startswith("Hello!")
