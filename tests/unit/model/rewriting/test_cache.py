"""The cache of rewritten graphs: what is kept, and that nothing in its folder can harm a server."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from onward_server.model.rewriting.cache import RewritingCache
from onward_server.model.rewriting.outcome import Kept, Rewritten

_OUTCOME = Rewritten(model=b"graph\n\0" * 100, changes="slots", difference=1e-6)


def file_of(folder: Path, key: str = "key") -> Path:
    return folder / "rewritten" / f"{key}.graph"


def kept_in(folder: Path) -> RewritingCache:
    cache = RewritingCache(folder)
    cache.keep("key", _OUTCOME)
    return cache


@pytest.mark.parametrize("outcome", [_OUTCOME, Kept(reason="its attention is not recognized: ümlaut")], ids=type)
def test_an_outcome_is_found_by_its_key_alone(tmp_path: Path, outcome: Rewritten | Kept) -> None:
    RewritingCache(tmp_path / "new").keep("key", outcome)
    assert RewritingCache(tmp_path / "new").find("key") == outcome
    assert RewritingCache(tmp_path / "new").find("other") is None


def test_without_a_folder_nothing_is_kept(caplog: pytest.LogCaptureFixture) -> None:
    cache = RewritingCache(None)
    cache.keep("key", _OUTCOME)
    assert cache.find("key") is None
    assert not caplog.records


def test_only_the_owner_may_enter_the_folder(tmp_path: Path) -> None:
    kept_in(tmp_path)
    assert (tmp_path / "rewritten").stat().st_mode & 0o777 == 0o700
    assert file_of(tmp_path).stat().st_mode & 0o777 == 0o600


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def make_a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def link_elsewhere(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


def empty(path: Path) -> None:
    path.write_bytes(b"")


def make_huge(path: Path) -> None:
    os.truncate(path, 1 << 40)


@pytest.mark.parametrize(
    "damage",
    [truncate, flip_a_bit, make_a_pipe, link_elsewhere, make_huge, empty],
    ids=["truncated", "flipped", "pipe", "link", "huge", "empty"],
)
def test_a_damaged_file_is_reported_and_made_again(
    tmp_path: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    cache = kept_in(tmp_path)
    damage(file_of(tmp_path))
    assert cache.find("key") is None
    assert "key.graph is not used: " in caplog.text
    cache.keep("key", _OUTCOME)
    assert cache.find("key") == _OUTCOME


def test_a_folder_to_which_others_may_write_is_not_trusted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = kept_in(tmp_path)
    (tmp_path / "rewritten").chmod(0o777)
    assert cache.find("key") is None
    assert f"others may write to {tmp_path / 'rewritten'}; run `chmod go-w" in caplog.text


def test_a_folder_that_is_a_link_is_not_trusted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = kept_in(tmp_path)
    (tmp_path / "rewritten").rename(tmp_path / "elsewhere")
    (tmp_path / "rewritten").symlink_to("elsewhere")
    assert cache.find("key") is None
    assert f"{tmp_path / 'rewritten'} is not a folder" in caplog.text


def test_a_folder_that_cannot_be_made_costs_a_line_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    cache = RewritingCache(tmp_path / "file")
    cache.keep("key", _OUTCOME)
    assert cache.find("key") is None
    assert "is not kept, so the next start rewrites the model again: " in caplog.text
    assert "--cache-dir" in caplog.text


def test_the_files_that_were_used_last_are_kept(tmp_path: Path) -> None:
    cache = RewritingCache(tmp_path)
    for number in range(64):
        cache.keep(f"key{number}", _OUTCOME)
        os.utime(file_of(tmp_path, f"key{number}"), (number, number))
    assert cache.find("key0") is not None  # and is now the one that was used last
    cache.keep("new", _OUTCOME)
    assert [cache.find(key) is not None for key in ("key0", "key1", "key2", "new")] == [True, False, True, True]


def test_servers_that_write_and_read_at_once_see_whole_outcomes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    outcomes = [Rewritten(model=bytes([i]) * 300_000, changes=str(i), difference=0.0) for i in range(4)]
    kept_in(tmp_path)

    def work(number: int) -> bool:
        cache = RewritingCache(tmp_path)
        cache.keep("key", outcomes[number % 4])
        return cache.find("key") in outcomes

    with ThreadPoolExecutor(4) as servers:
        assert all(servers.map(work, range(40)))
    assert [path.name for path in (tmp_path / "rewritten").iterdir()] == ["key.graph"]
    assert not caplog.records
