"""A type checker finds wrong names and types in calls of the client, and accepts right ones."""

import json
import subprocess
import sys
from pathlib import Path

USAGE = Path(__file__).with_name("typed_usage.txt")


def test_the_type_checker_rejects_wrong_uses_only(tmp_path: Path) -> None:
    lines = USAGE.read_text(encoding="utf-8").splitlines()
    (tmp_path / "usage.py").write_text("\n".join(lines), encoding="utf-8")
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

    wrong = [number for number, line in enumerate(lines, 1) if line.endswith("# wrong")]
    assert sorted({found["range"]["start"]["line"] + 1 for found in report["generalDiagnostics"]}) == wrong
