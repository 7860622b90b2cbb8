"""docker-compose.yml follows its schema and gives its containers no more than they need."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from onward_server.settings.server import read_settings

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
every_service = pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES.keys())


@pytest.mark.parametrize(
    ("schema", "file"),
    [("vendor.compose-spec", "docker-compose.yml"), ("vendor.github-workflows", ".github/workflows/ci.yaml")],
)
def test_the_file_follows_its_schema(schema: str, file: str) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, ROOT / file]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


def test_one_service_starts_without_a_profile() -> None:
    assert [name for name, service in SERVICES.items() if "profiles" not in service] == ["onward"]


@every_service
def test_a_service_has_no_privileges_and_writes_nothing_but_tmp(service: dict[str, Any]) -> None:
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is True
    assert service["tmpfs"] == ["/tmp"]  # noqa: S108 # inside the container
    assert all(volume.endswith(":ro") for volume in service["volumes"])


@every_service
def test_a_server_without_keys_is_marked_insecure_and_published_on_loopback(service: dict[str, Any]) -> None:
    command, *words = service["command"]
    settings = read_settings(words)
    assert command == "serve"
    assert settings.listens_beyond_loopback == settings.insecure
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])


def test_services_can_run_side_by_side() -> None:
    ports = [port.rsplit(":", 1)[0] for service in SERVICES.values() for port in service["ports"]]
    assert len(set(ports)) == len(ports)


@every_service
def test_a_stopping_container_outlives_the_drain(service: dict[str, Any]) -> None:
    seconds = float(service["stop_grace_period"].removesuffix("s"))
    assert seconds > read_settings(service["command"][1:]).drain_timeout_s


def test_the_gpu_profile_reserves_a_gpu_and_starts_with_the_embedded_model_too() -> None:
    """The embedded model is fp32, which CUDA cannot run: with `cuda`, the container restarted forever."""
    service = SERVICES["onward-gpu"]
    assert service["profiles"] == ["gpu"]
    (device,) = service["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"]
    assert read_settings(service["command"][1:]).execution_provider == "auto"
    assert (ROOT / f"requirements/{service['build']['args']['REQUIREMENTS']}.lock").is_file()
