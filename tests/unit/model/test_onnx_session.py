"""The device that a session runs on, and the error if CUDA cannot be used. No test needs a GPU."""

import ctypes
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from onward_server.errors import ModelFolderError, StartupError
from onward_server.model import onnx_session
from onward_server.model.onnx_session import (
    Binding,
    DeviceBuffer,
    ElementType,
    ExecutionProvider,
    OnnxSession,
    SessionOptions,
    ort,
    ort_state,
)
from testing.tiny_model import write_tiny_model

AUTO = SessionOptions(execution_provider=ExecutionProvider.AUTO)
CUDA = SessionOptions(execution_provider=ExecutionProvider.CUDA)


class FakeSession(ort.InferenceSession):
    """A session on the CPU that reports CUDA if CUDA is requested."""

    kernels: ClassVar[frozenset[str]] = frozenset()
    """Operators that CUDA takes; the others stay on the CPU."""
    loads_libraries: ClassVar[bool] = True

    def __init__(
        self,
        path: str,
        sess_options: ort.SessionOptions,
        providers: Sequence[str | tuple[str, dict[str, str]]],
        *,
        enable_fallback: bool = True,
    ) -> None:
        self.is_on_cuda = self.loads_libraries and providers != ["CPUExecutionProvider"]
        super().__init__(path, sess_options, providers=["CPUExecutionProvider"], enable_fallback=enable_fallback)

    def get_providers(self) -> list[str]:
        return ["CUDAExecutionProvider"] * self.is_on_cuda + ["CPUExecutionProvider"]

    def get_provider_graph_assignment_info(self) -> list[ort_state.OrtEpAssignedSubgraph]:
        nodes = super().get_provider_graph_assignment_info()
        return [node for node in nodes if node.get_nodes()[0].op_type not in self.kernels]


class WithoutLibraries(FakeSession):
    loads_libraries = False


class WithoutAttention(FakeSession):
    kernels = frozenset({"MatMul"})


class WithKernels(FakeSession):
    kernels = frozenset({"GroupQueryAttention", "MatMul"})


class WithoutDriver(ort.InferenceSession):
    """Fails as onnxruntime does inside its constructor, where it would try the CPU of its own accord."""

    def _create_inference_session(
        self, providers: Sequence[str | tuple[str, dict[str, str]]], *arguments: object
    ) -> None:
        self._fallback_providers = ["CPUExecutionProvider"]
        if providers != ["CPUExecutionProvider"]:
            raise RuntimeError("CUDA failure 35: CUDA driver version is insufficient")
        super()._create_inference_session(providers, *arguments)  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]


failures = pytest.mark.parametrize(
    ("session_class", "reason"),
    [
        (WithoutLibraries, "CUDA libraries could not be loaded"),
        (WithoutAttention, "no kernel for its GroupQueryAttention;"),
        (WithoutDriver, "CUDA failure 35: CUDA driver version is insufficient"),
    ],
    ids=["libraries", "kernels", "driver"],
)


@pytest.fixture
def model_path(tmp_path: Path) -> Path:
    return write_tiny_model(tmp_path / "tiny") / "model.onnx"


@pytest.fixture(autouse=True)
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that seems to have a GPU."""
    monkeypatch.setattr(onnx_session, "_has_cuda_device", lambda: True)
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
    monkeypatch.setattr(ort, "preload_dlls", lambda: None)


@failures
def test_auto_takes_the_cpu_where_cuda_cannot_be_used_and_says_once_why(
    model_path: Path,
    session_class: type[ort.InferenceSession],
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A device file does not mean that the device can be used."""
    monkeypatch.setattr(ort, "InferenceSession", session_class)
    session = OnnxSession(model_path, AUTO)
    assert (session.execution_provider, session.is_cpu) == ("CPUExecutionProvider", True)
    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warning.startswith("execution provider auto uses the CPU: ")
    assert reason in warning
    assert "\n" not in warning


@failures
def test_cuda_that_is_requested_and_cannot_be_used_is_rejected_with_the_reason(
    model_path: Path, session_class: type[ort.InferenceSession], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ort, "InferenceSession", session_class)
    with pytest.raises(StartupError, match=f"{reason}.* use --execution-provider cpu"):
        OnnxSession(model_path, CUDA)


@pytest.mark.parametrize("options", [AUTO, CUDA], ids=["auto", "cuda"])
def test_shapes_that_stay_on_the_cpu_keep_no_model_from_cuda(
    model_path: Path, options: SessionOptions, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Operators after a Shape stay on the CPU on purpose."""
    monkeypatch.setattr(ort, "InferenceSession", WithKernels)
    session = OnnxSession(model_path, options)
    assert (session.execution_provider, session.is_cpu) == ("CUDAExecutionProvider", False)
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_auto_says_nothing_on_a_machine_without_a_gpu(
    model_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(onnx_session, "_has_cuda_device", lambda: False)
    assert OnnxSession(model_path, AUTO).is_cpu
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_a_model_that_no_device_can_load_is_rejected_as_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ort, "InferenceSession", WithKernels)
    broken = tmp_path / "model.onnx"
    broken.write_bytes(b"no model")
    with pytest.raises(ModelFolderError, match="cannot be loaded"):
        OnnxSession(broken, AUTO)


def test_cuda_is_rejected_if_onnxruntime_was_built_without_it(
    model_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(StartupError, match="needs an onnxruntime that was built with it"):
        OnnxSession(model_path, CUDA)


def test_memory_that_the_device_does_not_have_is_a_memory_error(
    model_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> ort.OrtValue:
        raise RuntimeError("Failed to allocate memory for requested buffer of size 64\nat bfc_arena.cc")

    monkeypatch.setattr(ort, "InferenceSession", WithKernels)
    monkeypatch.setattr(ort.OrtValue, "ortvalue_from_shape_and_type", refuse)
    session = OnnxSession(model_path, CUDA)
    with pytest.raises(MemoryError, match=r"requested buffer of size 64$"):
        DeviceBuffer(session, (4, 4), ElementType(1, np.dtype(np.float32)))


class FakeDevice:
    """Session and binding in one. Binding host memory copies it to the device, and a run reads the copy."""

    def __init__(self) -> None:
        self.copies: dict[str, list[int]] = {}
        self.seen: list[list[int]] = []

    def bind_input(self, name: str, _device: object, _dtype: type, shape: list[int], pointer: int) -> None:
        written = ctypes.string_at(pointer, shape[0] * np.int64().itemsize)
        self.copies[name] = np.frombuffer(written, np.int64).tolist()

    def run_with_iobinding(self, _binding: object, _options: None) -> None:
        self.seen.append(self.copies["token_ids"])


def test_a_host_input_that_changes_between_two_runs_reaches_the_device(model_path: Path) -> None:
    """A host input is copied to the device when it is bound, so it must be bound again for each run."""
    session = OnnxSession(model_path, SessionOptions())
    session.is_cpu = False
    binding, device = Binding(session), FakeDevice()
    binding.raw = session.raw = device  # pyright: ignore[reportAttributeAccessIssue]  a fake
    token_ids = np.zeros(2, np.int64)
    binding.bind_host_input("token_ids", token_ids)
    for step in range(3):
        token_ids[:] = step
        session.run(binding)
    assert device.seen == [[0, 0], [1, 1], [2, 2]]


def test_a_session_that_lacks_memory_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*_: object) -> None:
        raise RuntimeError("Exception during loading: std::bad_alloc")

    monkeypatch.setattr(onnx_session, "_load_on", load)
    with pytest.raises(ModelFolderError, match="std::bad_alloc; allow more memory, or serve a smaller model"):
        OnnxSession(tmp_path / "model.onnx", SessionOptions(execution_provider=ExecutionProvider.CPU))
