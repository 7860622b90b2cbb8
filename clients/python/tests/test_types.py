"""Type checkers find wrong names and types in calls of the client, and accept right ones."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

TYPICAL = Path(__file__).with_name("typical_uses.py")
USAGE = Path(__file__).with_name("typed_usage.txt")


def test_there_are_forty_typical_uses() -> None:
    numbers = re.findall(r'"""(\d+): ', TYPICAL.read_text(encoding="utf-8"))

    assert [int(number) for number in numbers] == list(range(1, 41))


def test_basedpyright_rejects_wrong_uses_only(tmp_path: Path) -> None:
    lines = USAGE.read_text(encoding="utf-8").splitlines()
    (tmp_path / "usage.py").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "typical_uses.py").write_text(TYPICAL.read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "pyrightconfig.json").write_text('{"typeCheckingMode": "strict"}', encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "basedpyright",
        "--outputjson",
        "--pythonpath",
        sys.executable,
        "-p",
        str(tmp_path),
    ]

    report = json.loads(subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True).stdout)

    found = {(Path(each["file"]).name, each["range"]["start"]["line"] + 1) for each in report["generalDiagnostics"]}
    wrong = {("usage.py", number) for number, line in enumerate(lines, 1) if line.endswith("# wrong")}
    assert report["summary"]["filesAnalyzed"] == 2
    assert found == wrong


def test_mypy_accepts_all_typical_uses(tmp_path: Path) -> None:
    if importlib.util.find_spec("mypy") is None:
        pytest.skip("needs mypy")
    copied = tmp_path / "typical_uses.py"
    copied.write_text(TYPICAL.read_text(encoding="utf-8"), encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), copied.name]

    done = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True)

    assert done.stdout.startswith("Success: no issues found in 1 source file"), done.stdout + done.stderr
