"""The examples in the READMEs print what the READMEs show, with the embedded model behind them."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.documented_examples import REPOSITORY, mismatches
from tests.model_serving import Serve

POCKET = REPOSITORY / "models" / "pocket" / "served"
INSTALL = "python -m pip install --quiet --disable-pip-version-check --no-index --no-deps --no-build-isolation"

DOCUMENTS: Mapping[str, Mapping[str, str]] = {
    "README.md": {"make serve": "make --dry-run serve"},
    "clients/python/README.md": {"pip install ./clients/python": INSTALL + " --target {tmp} ./clients/python"},
}
"""Each document, with the commands that its test replaces: these would use the network or never return."""


@pytest.mark.parametrize("name", DOCUMENTS)
async def test_the_examples_print_what_the_document_shows(serve: Serve, tmp_path: Path, name: str) -> None:
    stand_ins = {shown: run.format(tmp=tmp_path) for shown, run in DOCUMENTS[name].items()}
    async with serve(Path(f"pocket={POCKET}")) as served:
        wrong = await asyncio.to_thread(mismatches, REPOSITORY / name, served.server.address, stand_ins)

    assert not wrong, "\n".join(map(str, wrong))
