"""The imports allowed between folders outside the installed packages."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def _imports(folder: str) -> Iterator[tuple[Path, str]]:
    """Each module of a folder with the first name of each of its imports."""
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_bytes())):
            match node:
                case ast.Import(names=names):
                    yield from ((path, name.name.partition(".")[0]) for name in names)
                case ast.ImportFrom(module=str(module)):
                    yield path, module.partition(".")[0]
                case _:
                    pass


@pytest.mark.parametrize(
    ("folder", "forbidden"),
    [
        ("benchmarks", {"tests"}),
        ("tests", {"benchmarks"}),
        ("testing", {"benchmarks", "tests"}),
    ],
)
def test_a_folder_does_not_import(folder: str, forbidden: set[str]) -> None:
    found = list(_imports(folder))
    assert found
    assert [(str(path.relative_to(ROOT)), name) for path, name in found if name in forbidden] == []
