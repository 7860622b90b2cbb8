"""Folders of the user who runs the server."""

import os
import sys
from pathlib import Path


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
