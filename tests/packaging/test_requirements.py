"""The locks agree with pyproject.toml and with each other."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "models/pocket/requirements.lock"
LOCKS = [*sorted((ROOT / "requirements").glob("*.lock")), RECIPE]
SERVER = tomllib.loads((ROOT / "pyproject.toml").read_text())
CLIENT = tomllib.loads((ROOT / "clients/python/pyproject.toml").read_text())
SERVER_ENVIRONMENTS = ("server", "cuda", "dev")


def pins(lock: Path) -> dict[str, set[str]]:
    """Versions by name; more than one where they depend on the interpreter."""
    found: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([a-z0-9.-]+)==([^ ;]+)", lock.read_text(), re.MULTILINE):
        found.setdefault(name, set()).add(version)
    return found


@pytest.mark.parametrize("environment", SERVER_ENVIRONMENTS)
@pytest.mark.parametrize("requirement", SERVER["project"]["dependencies"] + CLIENT["project"]["dependencies"])
def test_every_requirement_of_a_distribution_is_locked_in_a_version_it_allows(
    requirement: str, environment: str
) -> None:
    asked = Requirement(requirement)
    if asked.name == CLIENT["project"]["name"]:
        assert asked.specifier.contains(CLIENT["project"]["version"])
        return
    locked = pins(ROOT / f"requirements/{environment}.lock")[asked.name]
    assert all(asked.specifier.contains(version) for version in locked)


def test_both_distributions_are_released_together() -> None:
    assert SERVER["project"]["version"] == CLIENT["project"]["version"]


def test_the_client_needs_grpc_and_protobuf_only() -> None:
    names = {Requirement(line).name for line in CLIENT["project"]["dependencies"]}
    assert names == {"googleapis-common-protos", "grpcio", "grpcio-status", "protobuf"}


def test_environments_of_the_server_hold_the_same_versions() -> None:
    server, cuda, dev = (pins(ROOT / f"requirements/{name}.lock") for name in SERVER_ENVIRONMENTS)
    assert {name: cuda[name] for name in server} == server
    assert {name: dev[name] for name in server} == server


def test_the_embedded_models_recipe_runs_on_the_versions_that_the_server_is_tested_with() -> None:
    server, recipe = (pins(lock) for lock in (ROOT / "requirements/server.lock", RECIPE))
    assert {name: recipe[name] for name in server} == server


@pytest.mark.parametrize("requirement", CLIENT["project"]["dependencies"])
def test_the_oldest_environment_holds_the_lower_bounds_of_the_client(requirement: str) -> None:
    asked = Requirement(requirement)
    (locked,) = pins(ROOT / "requirements/oldest.lock")[asked.name]
    assert str(asked.specifier) == f">={locked}"


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_every_locked_version_has_a_hash(lock: Path) -> None:
    for entry in re.split(r"\n(?=\S)", lock.read_text().strip()):
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry


@pytest.mark.parametrize("lock", [*LOCKS, ROOT / "package-lock.json"], ids=lambda lock: lock.name)
def test_a_lock_names_no_address(lock: Path) -> None:
    assert not re.search(r"://|--index-url|--find-links|\"resolved\"", lock.read_text())
