"""docs/formats.md and README.md name the formats that the server has."""

import re
from pathlib import Path

from onward_server.completion.answer.format_registry import REASONING_FORMATS, TOOL_FORMATS

ROOT = Path(__file__).parents[4]
TOOLS, REASONING = (
    re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    for section in (ROOT / "docs/formats.md").read_text(encoding="utf-8").split("\n## ")[1:]
)


def test_the_page_has_a_row_for_each_format() -> None:
    assert [format_.name for format_ in TOOL_FORMATS] == TOOLS
    assert [format_.name for format_ in REASONING_FORMATS] == REASONING


def test_the_readme_counts_the_formats() -> None:
    counted = f"{len(TOOL_FORMATS)} [tool formats](docs/formats.md) and {len(REASONING_FORMATS)} reasoning formats"
    assert counted in (ROOT / "README.md").read_text(encoding="utf-8")
