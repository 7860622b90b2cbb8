"""How the user started this program."""

import shutil
import sys
from pathlib import Path


def program() -> tuple[str, ...]:
    """The words that start this program again from another folder."""
    started, found = Path(sys.argv[0]), shutil.which("onward")
    if found is not None and Path(found).resolve() == started.resolve():
        return ("onward",)
    return (str(started.absolute()),) if started.name == "onward" else (sys.executable, "-m", "onward_server")
