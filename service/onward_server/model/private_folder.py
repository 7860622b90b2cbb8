"""Checks who may write to a folder whose contents the server trusts."""

import os
import stat
from pathlib import Path

_ROOT = 0
"""The owner of what an image was built with. Root could write to any folder."""


def require_private(folder: Path) -> None:
    """Checks that nobody but this user and root could have written the files in a folder.

    Raises:
        ValueError: Somebody could have.
        OSError: The folder does not exist, or its owner cannot be read.
    """
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise ValueError(f"{folder} is not a folder")
    if found.st_uid not in (os.geteuid(), _ROOT):
        raise ValueError(f"{folder} belongs to uid {found.st_uid}, not to uid {os.geteuid()}")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ValueError(f"others may write to {folder}; run `chmod go-w {folder}`")
