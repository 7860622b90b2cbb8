"""Folders of the user who runs the server."""

import os
import sys
from pathlib import Path


def cache_folder(named: Path | None = None) -> Path | None:
    """Folder for what the server computes once for a model; None: the user has no home folder.

    Args:
        named: The value of a flag. None: ONWARD_CACHE_DIR, or else a folder in the user's cache folder.
    """
    named = named or (Path(variable) if (variable := os.environ.get("ONWARD_CACHE_DIR")) else None)
    if named is not None:
        return named
    folder = user_cache_folder()
    return None if folder is None else folder / "onward"


def user_cache_folder() -> Path | None:
    """The user's folder for caches; None: the user has no home folder.

    XDG_CACHE_HOME wins if it is absolute, as the XDG Base Directory Specification requires.
    """
    named = os.environ.get("XDG_CACHE_HOME", "")
    if named.startswith("/"):
        return Path(named)
    try:
        home = Path.home()
    except RuntimeError:
        return None
    return home / ("Library/Caches" if sys.platform == "darwin" else ".cache")
