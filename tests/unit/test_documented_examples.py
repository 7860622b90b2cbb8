"""The runner of documented examples finds every block and every difference."""

from pathlib import Path

import pytest

from tests.documented_examples import examples, mismatches

TARGET = "localhost:1"


def document(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "README.md"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_an_example_knows_its_line_and_the_output_that_follows() -> None:
    (example,) = examples("# Title\n\n```python\nprint(1)\n```\n\n```text\n1\n```\n")

    assert (example.source, example.shown, example.line) == ("print(1)\n", "1\n", 4)


def test_each_command_has_the_output_below_it() -> None:
    found = examples("```sh\n$ echo a\na\n$ echo b\nb\n```\n")

    assert [(example.source, example.shown, example.line) for example in found] == [
        ("echo a", "a\n", 2),
        ("echo b", "b\n", 4),
    ]


@pytest.mark.parametrize(
    "markdown",
    ["```bash\ntrue\n```\n", "  ```sh\n  true\n  ```\n", "```sh title=x\ntrue\n```\n", "```sh\ntrue\n"],
    ids=["language", "indented", "attributes", "open"],
)
def test_a_block_that_would_be_overlooked_is_rejected(markdown: str) -> None:
    with pytest.raises(ValueError, match=r"block"):
        examples(markdown)


def test_output_that_matches_is_accepted(tmp_path: Path) -> None:
    path = document(
        tmp_path,
        *("```python", "word = 'b'", "print('a')", "```", "", "```text", "a", "```"),
        *("```python", "print(word, 'x', 'c')", "```", "```text", "b ... c", "```"),
        *("```sh", "$ echo out; echo err >&2", "out", "err", "```"),
        *("```sh", "true", "```"),
    )

    assert mismatches(path, TARGET, {}) == []


@pytest.mark.parametrize(
    "lines",
    [
        ("```python", "print('a')", "```", "```text", "b", "```"),
        ("```python", "print('a')", "```"),
        ("```python", "print('a')", "```", "Elsewhere:", "```text", "a", "```"),
        ("```python", "pass", "```", "```text", "a", "```"),
        ("```sh", "$ echo a", "b", "```"),
        ("```sh", "$ echo a", "```"),
        ("```sh", "false", "true", "```"),
    ],
    ids=["other", "unshown", "apart", "silent", "command", "unshown command", "failed script"],
)
def test_output_that_differs_is_found_with_its_line(tmp_path: Path, lines: tuple[str, ...]) -> None:
    (found,) = mismatches(document(tmp_path, "# Title", *lines), TARGET, {})

    assert found.line == 3


def test_the_address_in_the_document_becomes_that_of_the_server(tmp_path: Path) -> None:
    path = document(
        tmp_path,
        *("```python", "print('127.0.0.1:50051')", "```", "```text", TARGET, "```"),
        *("```sh", "$ echo 127.0.0.1:50051 $ONWARD_TARGET", f"{TARGET} {TARGET}", "```"),
    )

    assert mismatches(path, TARGET, {}) == []


def test_a_stand_in_runs_instead_of_a_command(tmp_path: Path) -> None:
    path = document(tmp_path, "```sh", "make nothing # comment", "```")

    assert mismatches(path, TARGET, {"make nothing": "true"}) == []
    with pytest.raises(AssertionError, match="does not show"):
        mismatches(path, TARGET, {"make nothing": "true", "make more": "true"})


def test_a_document_without_examples_fails(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="has no examples"):
        mismatches(document(tmp_path, "# Title"), TARGET, {})
