"""Runs the fenced examples of a Markdown document and compares their output with the output that the document shows.

- ```` ```python ```` blocks share one namespace, in order. The ```` ```text ```` block that follows shows what a block
  prints; a block without one must print nothing.
- ```` ```sh ```` and ```` ```console ```` blocks with `$ command` lines show each command's output below it, standard
  error included. Other shell blocks are scripts that must succeed, whatever they print.
- ```` ```text ````, ```` ```json ```` and other data, and blocks without a language, are not run.

In shown output, `...` stands for any text, as in doctest.
"""

import contextlib
import doctest
import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
DOCUMENTED_TARGET = "127.0.0.1:50051"
"""The server that documents talk to; replaced by the address of the test's own server."""

_FENCED = re.compile(
    r"""
    ^```(?P<language>[a-z]*)\n(?P<text>.*?)^```$\n?
    (?:\s*^```text\n(?P<shown>.*?)^```$\n?)?  # only blank lines between
    """,
    re.MULTILINE | re.DOTALL | re.VERBOSE,
)
_NOT_RUN = frozenset({"", "json", "proto", "text", "toml", "yaml"})
_OUTPUT_FLAGS = doctest.ELLIPSIS | doctest.DONT_ACCEPT_BLANKLINE | doctest.DONT_ACCEPT_TRUE_FOR_1
_TIMEOUT_S = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """Code or a command, with the output that the document shows for it."""

    source: str
    is_python: bool
    shown: str | None
    """None: the document shows no output, and any is accepted."""
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """An example whose output differs from what the document shows."""

    line: int
    source: str
    shown: str | None
    printed: str

    def __str__(self) -> str:
        """Shows the code and both outputs, for a test's failure message."""
        return f"line {self.line}:\n{self.source}\nshould print:\n{self.shown}\nprinted:\n{self.printed}"


def examples(markdown: str) -> list[Example]:
    """Returns what a document asks its reader to run, in order.

    Raises:
        ValueError: A block is indented, not closed or in a language that is neither run nor known as data.
    """
    found: list[Example] = []
    fences = 0
    for block in _FENCED.finditer(markdown):
        fences += 2 if block["shown"] is None else 4
        line = markdown.count("\n", 0, block.start("text")) + 1
        match block["language"]:
            case "python":
                found.append(Example(source=block["text"], is_python=True, shown=block["shown"] or "", line=line))
            case "sh" | "console":
                found.extend(_shell_examples(block["text"], line))
            case language if language not in _NOT_RUN:
                raise ValueError(f"line {line - 1}: blocks in {language!r} are not run; use python, sh or console")
            case _:
                pass
    if fences != markdown.count("```"):
        raise ValueError("a block is indented, not closed, or has more than a language after its fence")
    return found


def mismatches(document: Path, target: str, stand_ins: Mapping[str, str]) -> list[Mismatch]:
    """Runs every example of a document against a server.

    Args:
        document: The Markdown file.
        target: Address of the server that takes the place of `DOCUMENTED_TARGET`.
        stand_ins: Commands to run instead of those that a test cannot run, such as an installation from the network.
            Every one of them must occur in the document.

    Returns:
        The examples whose output differs from what the document shows, or that failed.
    """
    markdown = document.read_text(encoding="utf-8")
    found = examples(markdown)
    assert found, f"{document} has no examples"
    unused = [
        command for command in stand_ins if not re.search(rf"^(\$ )?{re.escape(command)}", markdown, re.MULTILINE)
    ]
    assert not unused, f"{document} does not show {unused}"
    namespace: dict[str, object] = {"__name__": "__main__"}
    wrong: list[Mismatch] = []
    for example in found:
        if example.is_python:
            printed, succeeded = _run_python(example, document, namespace, target), True
        else:
            printed, succeeded = _run_shell(example.source, target, stand_ins)
        if not _is_as_shown(printed, example.shown, succeeded=succeeded):
            wrong.append(Mismatch(line=example.line, source=example.source, shown=example.shown, printed=printed))
    return wrong


def _shell_examples(block: str, line: int) -> Iterator[Example]:
    if not block.startswith("$ "):
        yield Example(source=block, is_python=False, shown=None, line=line)
        return
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        yield Example(source=command, is_python=False, shown=output, line=line)
        line += part.count("\n")


def _is_as_shown(printed: str, shown: str | None, *, succeeded: bool) -> bool:
    if shown is None:
        return succeeded
    if printed and not printed.endswith("\n"):
        printed += "\n"  # a block in a document cannot end without one
    return doctest.OutputChecker().check_output(shown, printed, _OUTPUT_FLAGS)


def _run_python(example: Example, document: Path, namespace: dict[str, object], target: str) -> str:
    """Returns what the code prints; errors point to the line of the document."""
    source = "\n" * (example.line - 1) + example.source.replace(DOCUMENTED_TARGET, target)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(source, str(document), "exec"), namespace)  # noqa: S102 - the repository's own documents
    return printed.getvalue()


def _run_shell(source: str, target: str, stand_ins: Mapping[str, str]) -> tuple[str, bool]:
    """Returns what the commands print to both streams, and whether they all succeeded."""
    for shown, run in stand_ins.items():
        source = re.sub(rf"^{re.escape(shown)}", lambda _, run=run: run, source, flags=re.MULTILINE)
    path = os.pathsep.join([str(Path(sys.executable).parent), *os.get_exec_path()])
    done = subprocess.run(
        ["/usr/bin/env", "bash", "-euo", "pipefail", "-c", source.replace(DOCUMENTED_TARGET, target)],
        cwd=REPOSITORY,
        env={**os.environ, "PATH": path, "ONWARD_TARGET": target},  # noqa: TID251 - handed on to the command
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=_TIMEOUT_S,
    )
    return done.stdout, done.returncode == 0
