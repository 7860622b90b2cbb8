"""ONNX Runtime is loaded only where its telemetry is already off."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VARIABLE = "ORT_DISABLE_TELEMETRY"
IMPORTER = "service/onward_server/model/onnx_session.py"


def files_that_import_onnx_runtime() -> list[str]:
    """Every Python file of the repository that imports `onnxruntime` or `onnxruntime_genai`."""
    folders = ("service", "clients", "models", "benchmarks", "testing", "tests")
    paths = [path for folder in folders for path in (ROOT / folder).rglob("*.py") if ".venv" not in path.parts]
    return [str(path.relative_to(ROOT)) for path in paths if any(map(_is_onnx_runtime, _imports(path)))]


def _imports(path: Path) -> list[str]:
    nodes = list(ast.walk(ast.parse(path.read_text())))
    plain = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    return plain + [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]


def _is_onnx_runtime(module: str) -> bool:
    return module.partition(".")[0] in {"onnxruntime", "onnxruntime_genai"}


def test_onnx_runtime_is_imported_in_the_server_or_after_its_telemetry_is_turned_off() -> None:
    files = files_that_import_onnx_runtime()
    assert IMPORTER in files
    for file in files:
        before_the_import = (ROOT / file).read_text().partition("\nimport onnxruntime")[0]
        assert file == IMPORTER or f'os.environ["{VARIABLE}"] = "1"' in before_the_import, file


@pytest.mark.parametrize("module", ["onward_server", "onward_server.model.onnx_session", "onward_server.app"])
@pytest.mark.parametrize("value", [None, "", "0"])
def test_importing_the_server_turns_telemetry_off_whatever_the_environment_says(module: str, value: str | None) -> None:
    code = f"import os, {module}; print(os.environ['{VARIABLE}'])"
    environment = {} if value is None else {VARIABLE: value}
    printed = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert printed.stdout == "1\n"
