"""The protocol's language options, and the exception in buf.yaml that exists until a release has them."""

import re
import subprocess
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
PROTOS = sorted((ROOT / "proto/onward/v1").glob("*.proto"))
OPTIONS = {
    "csharp_namespace": "Onward.V1",
    "go_package": "onward.internal/gen/go/onward/v1;onwardv1",
    "java_package": "onward.v1",
}


def _git(*words: str) -> str | None:
    command = ["git", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def _base() -> str | None:
    """What `make proto` compares with: the last release, else origin/main; None where that is this very commit."""
    base = _git("describe", "--tags", "--abbrev=0", "--match", "v*") or "origin/main"
    commit = _git("rev-parse", "--verify", "--quiet", f"{base}^{{commit}}")
    return None if commit in {None, _git("rev-parse", "HEAD")} else commit


def test_every_proto_file_has_the_same_language_options() -> None:
    assert PROTOS
    for proto in PROTOS:
        found = dict(re.findall(r'^option (\w+) = "(.*)";$', proto.read_text(), re.MULTILINE))
        assert found == OPTIONS, proto.name


def test_the_exception_for_language_options_goes_once_the_base_has_the_new_ones() -> None:
    base = _base()
    text = _git("show", f"{base}:proto/onward/v1/chat.proto") if base else None
    is_settled = text is not None and all(f'option {name} = "{value}";' in text for name, value in OPTIONS.items())
    breaking = yaml.safe_load((ROOT / "proto/buf.yaml").read_text())["breaking"]
    excepted = {"FILE_SAME_CSHARP_NAMESPACE", "FILE_SAME_GO_PACKAGE", "FILE_SAME_JAVA_PACKAGE"}
    assert set(breaking.get("except", ())) == (set() if is_settled else excepted) or (
        base is None and "except" not in breaking
    )
