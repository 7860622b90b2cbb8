"""Carries out a Dockerfile's build stage in a folder; it knows ARG, WORKDIR, COPY and RUN, and no layers."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path


def instructions(dockerfile: Path) -> Iterator[tuple[str, str]]:
    """Every instruction with its arguments, comments dropped and continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", dockerfile.read_text(), flags=re.MULTILINE)
    for line in text.replace("\\\n", " ").splitlines():
        if line.strip():
            name, arguments = line.split(maxsplit=1)
            yield name, arguments.strip()


def stages(dockerfile: Path) -> list[list[tuple[str, str]]]:
    """The instructions of each stage, its FROM first."""
    found: list[list[tuple[str, str]]] = []
    for name, arguments in instructions(dockerfile):
        if name == "FROM":
            found.append([])
        found[-1].append((name, arguments))
    return found


def build(stage: list[tuple[str, str]], *, context: Path, root: Path, tracked: list[Path], path: str) -> None:
    """Carries a stage out with `root` in the place of `/`.

    Args:
        stage: the instructions.
        context: the folder that COPY copies from.
        root: the folder that stands for the image's file system.
        tracked: files of the context, relative to it: a clean checkout has no others.
        path: where commands are looked up.
    """
    variables = {"PATH": path}
    folder = root
    for name, arguments in stage:
        if name == "ARG":
            variable, value = arguments.split("=", 1)
            variables[variable] = value
        elif name == "WORKDIR":
            folder = root / arguments.lstrip("/")
            folder.mkdir(parents=True)
        elif name == "COPY":
            *sources, target = arguments.split()
            for source in sources:
                _copy(Path(source), context=context, target=folder / target, tracked=tracked)
        elif name == "RUN":
            command = re.sub(r"(?<=\s)/(?=\w)", f"{root}/", arguments).replace("--no-cache-dir", "")
            shell = ["env", *(f"{key}={value}" for key, value in variables.items()), "/bin/sh", "-euc", command]
            done = subprocess.run(shell, cwd=folder, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"RUN {command}\n{done.stdout}{done.stderr}"


def _copy(source: Path, *, context: Path, target: Path, tracked: list[Path]) -> None:
    files = [file for file in tracked if file == source or source in file.parents]
    assert files, f"COPY {source}: the checkout has no such file"
    for file in files:
        place = target / file.relative_to(source) if file != source else target / file.name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(context / file, place, follow_symlinks=False)
