"""Every row of docs/public-bugs.md names tests that exist, a reason, or an open problem."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (ROOT / "docs/public-bugs.md").read_text().splitlines()
    if re.match(r"\| [A-E]\d+ \|", line)
]
OPEN, REASON = "*open*", "right as it is: "


@cache
def defined_tests() -> frozenset[str]:
    folders = (ROOT / "tests", ROOT / "clients/python/tests")
    trees = [ast.parse(path.read_text()) for folder in folders for path in folder.rglob("test_*.py")]
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for tree in trees for node in ast.walk(tree) if isinstance(node, functions))


def test_the_table_has_rows_without_gaps() -> None:
    numbers = [(row[0][0], int(row[0][1:])) for row in ROWS]
    assert numbers == [
        (letter, number)
        for letter, count in (("A", 5), ("B", 16), ("C", 5), ("D", 6), ("E", 12))
        for number in range(1, count + 1)
    ]


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_a_row_names_tests_that_exist(row: list[str]) -> None:
    outcome = row[3]
    named = re.findall(r"`(test_\w+)`", outcome)
    assert named or outcome.startswith((OPEN, REASON)), f"{row[0]} names no test and gives no reason"
    assert not set(named) - defined_tests()
