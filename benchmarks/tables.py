"""Writes the tables of benchmarks/README.md from results/*.json.

    python -m benchmarks.tables

A table is between `<!-- NAME -->` and `<!-- end -->`, where NAME is a result's file name without `.json`.
"""

import json
import re
from pathlib import Path
from typing import Any

from benchmarks.report import RESULTS

README = Path(__file__).with_name("README.md")

_SECTION = re.compile(r"(<!-- ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_RANGE = "_range"


def table(result: dict[str, Any]) -> str:
    """The conditions of the measurement, then a table. A value's range follows it in parentheses."""
    rows: list[dict[str, Any]] = result["rows"]
    columns = [name for name in rows[0] if not name.endswith(_RANGE)]
    lines = [" | ".join(name.replace("_", " ") for name in columns), " | ".join("--:" for _ in columns)]
    lines += [" | ".join(_cell(row, name) for name in columns) for row in rows]
    return "\n".join([_origin(result), "", *(f"| {line} |" for line in lines)])


def _origin(result: dict[str, Any]) -> str:
    hardware = result["hardware"]
    versions: dict[str, str] = {**result["versions"], **(result.get("genai") or {})}
    with_what = ", ".join(f"{name} {version}" for name, version in versions.items())
    return (
        f"`{result['command']}` on {hardware['cpu']}, {hardware['cores']} cores, {hardware['memory_gib']} GiB; "
        f"commit {result['commit']}, {result['date'][:10]}; Python {result['python']}, {with_what}."
    )


def _cell(row: dict[str, Any], name: str) -> str:
    spread = row.get(name + _RANGE)
    return f"{row[name]}" if spread is None else f"{row[name]} ({spread[0]} to {spread[1]})"


def main() -> None:
    """Rewrite the tables. A table without a result file stays as it is."""

    def filled(match: re.Match[str]) -> str:
        path = RESULTS / f"{match[2]}.json"
        if not path.is_file():
            return match[0]
        return f"{match[1]}{table(json.loads(path.read_text(encoding='utf-8')))}\n{match[3]}"

    README.write_text(_SECTION.sub(filled, README.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
