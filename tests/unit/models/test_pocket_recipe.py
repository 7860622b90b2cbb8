from pathlib import Path

import pytest

pytest.importorskip("torch", reason="PyTorch is in no lock: the recipe of the pocket model needs it")


def test_the_whole_recipe_runs_small(tmp_path: Path) -> None:
    from models.pocket.smoke import smoke  # noqa: PLC0415  needs PyTorch

    first, last = smoke(tmp_path)
    assert last < first - 1
