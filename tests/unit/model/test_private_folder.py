"""Nobody but the user of the server and root may write to a folder whose graphs the server runs."""

import os
from pathlib import Path

import pytest

from onward_server.model.private_folder import require_private


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "folder").mkdir(mode=0o700)
    return tmp_path / "folder"


def test_a_folder_of_the_user_is_accepted(folder: Path) -> None:
    require_private(folder)


@pytest.mark.parametrize("euid", [12345, 54321])
def test_a_folder_of_root_is_accepted_and_one_of_another_user_is_not(
    folder: Path, monkeypatch: pytest.MonkeyPatch, euid: int
) -> None:
    """Images are built by root and run by another user."""
    owner = folder.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: euid)
    if owner == 0:
        require_private(folder)
        os.chown(folder, 4711, -1)
    with pytest.raises(ValueError, match=rf"belongs to uid {folder.stat().st_uid}, not to uid {euid}$"):
        require_private(folder)


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777])
def test_a_folder_that_others_may_write_to_is_rejected_with_a_remedy(folder: Path, mode: int) -> None:
    folder.chmod(mode)
    with pytest.raises(ValueError, match=r"^others may write to \S+; run `chmod go-w \S+`$"):
        require_private(folder)


def test_a_link_to_a_folder_is_rejected(folder: Path) -> None:
    link = folder.with_name("link")
    link.symlink_to(folder)
    with pytest.raises(ValueError, match=r"is not a folder$"):
        require_private(link)
