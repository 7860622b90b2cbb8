"""Says in one sentence why a file or folder cannot be read, and what to do."""

import os
import stat
from pathlib import Path


def unreadable(path: Path, error: OSError) -> str:
    """Returns the sentence for an error of opening, listing or reading a path."""
    match error:
        case PermissionError():
            return _forbidden(path)
        case FileNotFoundError() if path.is_symlink():
            return f"{path} is a link to {path.readlink()}, which does not exist here; mount or copy its target, too"
        case FileNotFoundError():
            return f"{path} does not exist; correct the path, or mount the folder that holds it"
        case IsADirectoryError():
            return f"{path} is a folder; name a file in it"
        case NotADirectoryError():
            return f"{path} cannot exist, because a part of the path is a file; correct the path"
        case _:
            return f"cannot read {path}: {error.strerror or error}"


def _forbidden(path: Path) -> str:
    """Names the first part of the path that is closed to the user, which is often a folder above it."""
    uid = os.geteuid()
    for folder in reversed(path.absolute().parents):
        if not os.access(folder, os.X_OK, effective_ids=True):
            return (
                f"uid {uid} may not enter the folder {folder}{_owner_and_mode(folder)}, so it cannot read {path}; run "
                f"as another user, or allow it, for example with `chmod o+x {folder}`"
            )
    mode = "o+rx" if path.is_dir() else "o+r"
    return (
        f"uid {uid} may not read {path}{_owner_and_mode(path)}; run as another user, or allow it, for example with "
        f"`chmod {mode} {path}`"
    )


def _owner_and_mode(path: Path) -> str:
    try:
        found = path.stat()
    except OSError:
        return ""
    return f" (owner {found.st_uid}, mode {stat.S_IMODE(found.st_mode):04o})"
