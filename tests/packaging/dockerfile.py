"""What the Dockerfile's build stage copies and builds."""

import re
from pathlib import Path

_TEXT = (Path(__file__).parents[2] / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")


def copied_sources() -> list[str]:
    """The paths that are copied from the repository, in order."""
    lines = re.findall(r"^COPY (?!--from)(.+)$", _TEXT, re.MULTILINE)
    return [source for line in lines for source in line.split()[:-1]]


def wheel_command() -> list[str]:
    """The words after `pip wheel`."""
    (words,) = re.findall(r"\bpip wheel ([^&\n]+)", _TEXT)
    return words.split()
