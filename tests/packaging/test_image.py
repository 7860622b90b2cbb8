"""The Dockerfile and its build context."""

import re
from pathlib import Path

from tests.packaging.dockerfile import copied_sources

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
IMAGE = dict(re.findall(r"^([A-Z]+) (.*)$", DOCKERFILE.rpartition("\nFROM ")[2], re.MULTILINE))


def test_the_build_context_holds_what_is_copied_and_nothing_else() -> None:
    sources = copied_sources()
    first, *patterns = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] in "*!"]
    assert first == "*"
    kept = [line.removeprefix("!") for line in patterns if line.startswith("!")]
    assert all((ROOT / source).exists() for source in sources)
    assert all(any(path.startswith(source.rstrip("/")) for path in kept) for source in sources)
    assert all(any(path.startswith(source.rstrip("/")) for source in sources) for path in kept)


def test_the_container_runs_unprivileged_and_reports_its_health() -> None:
    assert IMAGE["USER"] == "10001:10001"
    assert IMAGE["HEALTHCHECK"].endswith('CMD ["onward", "health"]')
    assert IMAGE["ENTRYPOINT"] == '["onward"]'
    assert "--insecure" not in IMAGE["CMD"]


def test_both_stages_start_from_one_image() -> None:
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert len(bases) == 2
    assert len(set(bases)) == 1
