"""The only importer of onnxruntime: sessions, device buffers and I/O bindings.

Bindings use raw pointers (`SessionIOBinding.bind_input`), because the public wrapper makes an OrtDevice object for each
tensor, which takes most of the time of a bind. A caller that binds a buffer must keep it alive.
"""

import logging
import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_state

from onward_server.errors import EngineFailed, ModelFolderError, StartupError
from onward_server.model.bounded.child import is_lack_of_memory
from onward_server.model.host_memory import LazyZeros
from onward_server.model.source.graph_in_place import GraphInPlace

logger = logging.getLogger(__name__)

AnyArray = npt.NDArray[np.generic]

_CGROUP_CPU_MAX = Path("/sys/fs/cgroup/cpu.max")
_CPU = "CPUExecutionProvider"
_CUDA = "CUDAExecutionProvider"
_EXTERNAL_DATA_FOLDER = "session.model_external_initializers_file_folder_path"
_COMPUTE = re.compile("Attention|MatMul|Gemm|MoE")
"""Operators that must run on the device. onnxruntime keeps others on the CPU on purpose, to compute shapes."""


class ExecutionProvider(StrEnum):
    """Where the model runs."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOptions:
    """Options of a session."""

    execution_provider: ExecutionProvider = ExecutionProvider.AUTO
    device_id: int = 0
    num_threads: int | None = None
    """None: as many as there are processors available to this process."""
    spinning: bool = True
    """Whether idle threads spin between operators: faster steps, more processor time."""
    prepacking: bool = True
    """Whether operators copy their weights into the order in which they read them: faster runs, slower loading."""


@dataclass(frozen=True, slots=True)
class ElementType:
    """A tensor element type: its ONNX number, and the numpy type of the same width."""

    onnx: int
    numpy: np.dtype[np.generic]

    @property
    def is_bfloat16(self) -> bool:
        """Whether the type is bfloat16, which numpy lacks: its arrays hold the same bits as uint16."""
        return self.onnx == 16


_ELEMENT_TYPES = {
    "tensor(float)": ElementType(1, np.dtype(np.float32)),
    "tensor(uint8)": ElementType(2, np.dtype(np.uint8)),
    "tensor(int8)": ElementType(3, np.dtype(np.int8)),
    "tensor(int32)": ElementType(6, np.dtype(np.int32)),
    "tensor(int64)": ElementType(7, np.dtype(np.int64)),
    "tensor(bool)": ElementType(9, np.dtype(np.bool_)),
    "tensor(float16)": ElementType(10, np.dtype(np.float16)),
    "tensor(bfloat16)": ElementType(16, np.dtype(np.uint16)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorInfo:
    """An input or output of the graph."""

    name: str
    type_name: str
    shape: tuple[int | str | None, ...]

    @property
    def element_type(self) -> ElementType:
        """Its element type.

        Raises:
            ModelFolderError: The type is not supported.
        """
        if self.type_name not in _ELEMENT_TYPES:
            raise ModelFolderError(f"the model's tensor {self.name} has type {self.type_name}, which is not supported")
        return _ELEMENT_TYPES[self.type_name]


class DeviceBuffer:
    """Zeroed memory on the device of a session, owned by this object. On the CPU, it is taken as it is written."""

    def __init__(self, session: "OnnxSession", shape: Sequence[int], element_type: ElementType) -> None:
        """Allocates the memory.

        Raises:
            MemoryError: The device has too little memory.
        """
        self.shape = tuple(shape)
        self.element_type = element_type
        self.host: AnyArray | None = None
        """The memory as an array if the device is the CPU, else None."""
        self._pages: LazyZeros | None = None
        self._value: ort.OrtValue | None = None
        self._session = session
        if session.is_cpu:
            self._pages = LazyZeros(self.shape, element_type.numpy)
            self.host = self._pages.array
            self.pointer = int(self.host.ctypes.data)
        else:
            self._value = _zeros_on_cuda(self.shape, element_type, session.device_id)
            self.pointer = int(self._value.data_ptr())

    @property
    def row_bytes(self) -> int:
        """Bytes of one row of the first axis."""
        return int(np.prod(self.shape[1:])) * self.element_type.numpy.itemsize

    def row_pointer(self, row: int) -> int:
        """Address of one row of the first axis."""
        return self.pointer + row * self.row_bytes

    def clear(self) -> None:
        """Gives the memory that was written back to the system, on the CPU. The buffer is zeros again."""
        if self._pages is not None:
            self._pages.clear()

    def copy_row(self, source: int, target: int, length: int | None = None) -> None:
        """Copies `[source, :, :length]` to `[target, :, :length]`, the same of flat rows, or the whole row.

        On CUDA it copies the whole row through the host, whatever `length` is.
        """
        if self.host is not None:
            region = np.s_[...] if length is None else np.s_[:length] if self.host.ndim == 2 else np.s_[:, :length]
            self.host[target][region] = self.host[source][region]
            return
        row_shape = (1, *self.shape[1:])
        views = [self._session.view(self.row_pointer(row), row_shape, self.element_type) for row in (source, target)]
        views[1].update_inplace(views[0].numpy())


class Binding:
    """The inputs and outputs of a run, bound by address. Binding a name again replaces it."""

    def __init__(self, session: "OnnxSession") -> None:
        self._cpu = session.cpu_device
        self._device = session.device
        self._is_cpu = session.is_cpu
        self.raw = ort_state.SessionIOBinding(session.raw)
        self._host_inputs: dict[str, AnyArray] = {}
        self._host_outputs: dict[str, AnyArray] = {}

    def bind_host_input(self, name: str, array: AnyArray) -> None:
        """Binds a C-contiguous array in host memory. It may be written in place between runs."""
        self._host_inputs[name] = array
        if self._is_cpu:
            self._bind_host_input(name, array)

    def copy_host_inputs(self) -> None:
        """Copies the host inputs to the device, by binding them again; called before each run."""
        if not self._is_cpu:
            for name, array in self._host_inputs.items():
                self._bind_host_input(name, array)

    def bind_host_output(self, name: str, array: AnyArray, element_type: ElementType | None = None) -> None:
        """Binds a C-contiguous array in host memory, which each run fills; its own type is the default."""
        self._host_outputs[name] = array
        type_ = array.dtype.type if element_type is None else element_type.onnx
        self.raw.bind_output(name, self._cpu, type_, list(array.shape), array.ctypes.data)

    def bind_device_input(self, name: str, pointer: int, shape: Sequence[int], element_type: ElementType) -> None:
        """Binds memory on the session's device, from which each run reads the input."""
        self._host_inputs.pop(name, None)
        self.raw.bind_input(name, self._device, element_type.onnx, list(shape), pointer)

    def bind_device_output(self, name: str, pointer: int, shape: Sequence[int], element_type: ElementType) -> None:
        """Binds memory on the session's device, to which each run writes the output."""
        self.raw.bind_output(name, self._device, element_type.onnx, list(shape), pointer)

    def _bind_host_input(self, name: str, array: AnyArray) -> None:
        self.raw.bind_input(name, self._cpu, array.dtype.type, list(array.shape), array.ctypes.data)


class OnnxSession:
    """An inference session on one device."""

    def __init__(self, path: Path, options: SessionOptions, graph: GraphInPlace | None = None) -> None:
        """Loads a model. AUTO means CUDA if it can run the model, else the CPU.

        Args:
            path: The ONNX file.
            options: How to make the session.
            graph: What the CPU runs instead of the file, with the weights in the file; None: the file itself.

        Raises:
            StartupError: The options ask for CUDA, which cannot run the model here.
            ModelFolderError: The model cannot be loaded.
        """
        started_s = time.perf_counter()
        session = _load(path, options, graph)
        self.execution_provider: str = session.get_providers()[0]
        self._session = session
        self.raw = session._sess  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        self.is_cpu = self.execution_provider == _CPU
        self.device_id = 0 if self.is_cpu else options.device_id
        self.cpu_device = _device("cpu", 0)
        self.device = self.cpu_device if self.is_cpu else _device("cuda", self.device_id)
        self.inputs = _tensors(session.get_inputs())
        self.optional_inputs = _tensors(session.get_overridable_initializers())
        """Inputs that have a value in the file, which a run uses unless another is bound."""
        self.outputs = _tensors(session.get_outputs())
        self.properties: Mapping[str, str] = session.get_modelmeta().custom_metadata_map
        """Metadata of the model in the file."""
        logger.info("loaded %s on %s in %.1f s", path, self.execution_provider, time.perf_counter() - started_s)

    def run(self, binding: Binding) -> None:
        """Runs the graph on a binding.

        Raises:
            EngineFailed: onnxruntime reported an error.
        """
        try:
            binding.copy_host_inputs()
            self.raw.run_with_iobinding(binding.raw, None)
        except Exception as error:  # onnxruntime raises a class of its own per status code
            raise EngineFailed(f"the run failed: {_one_line(error)}") from error

    def view(self, pointer: int, shape: Sequence[int], element_type: ElementType) -> ort.OrtValue:
        """A tensor over memory on this session's device, without a copy."""
        binding = ort_state.SessionIOBinding(self.raw)
        binding.bind_output(next(iter(self.outputs)), self.device, element_type.onnx, list(shape), pointer)
        return ort.OrtValue(binding.get_outputs()[0])


def usable_processors() -> int:
    """Processors that this process may use: its affinity, limited by the cgroup's quota, which onnxruntime ignores."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if _CGROUP_CPU_MAX.is_file():
        quota, period = _CGROUP_CPU_MAX.read_text(encoding="ascii").split()
        if quota != "max":
            processors = min(processors, max(1, int(quota) // int(period)))
    return processors


def uses_cpu(options: SessionOptions) -> bool:
    """Whether a session with these options runs on the CPU, whatever the model."""
    asked = options.execution_provider
    return asked is ExecutionProvider.CPU or (asked is ExecutionProvider.AUTO and not _has_cuda_device())


def runtime_version() -> str:
    """Version of onnxruntime."""
    return str(ort.__version__)


def _load(path: Path, options: SessionOptions, graph: GraphInPlace | None) -> ort.InferenceSession:
    asked = options.execution_provider
    if not uses_cpu(options):
        try:
            return _load_on_cuda(path, options)
        except StartupError as error:
            if asked is ExecutionProvider.CUDA:
                raise
            logger.warning("execution provider auto uses the CPU: %s", error)
    try:
        return _load_on(_CPU, path, options, graph)
    except Exception as error:  # onnxruntime raises a class of its own per status code
        remedy = "; allow more memory, or serve a smaller model" if is_lack_of_memory(repr(error)) else ""
        raise ModelFolderError(f"{path} cannot be loaded: {_first_line(error)}{remedy}") from error


def _has_cuda_device() -> bool:
    return _CUDA in ort.get_available_providers() and Path("/dev/nvidiactl").exists()


def _load_on_cuda(path: Path, options: SessionOptions) -> ort.InferenceSession:
    if _CUDA not in ort.get_available_providers():
        raise StartupError(
            "execution provider cuda needs an onnxruntime that was built with it; "
            "on Linux x86-64 install onnxruntime-gpu, without onnxruntime beside it"
        )
    ort.preload_dlls()
    try:
        session = _load_on(_CUDA, path, options)
    except Exception as error:  # onnxruntime raises a class of its own per status code
        raise StartupError(
            f"{path} cannot be loaded on CUDA: {_first_line(error)}; check the driver and --device-id, "
            "or use --execution-provider cpu"
        ) from error
    if session.get_providers()[0] != _CUDA:
        raise StartupError(
            "the CUDA libraries could not be loaded; install onward-server[cuda] and check the driver, "
            "or use --execution-provider cpu"
        )
    if left_out := _compute_on_cpu(session):
        raise StartupError(
            f"{path} cannot run on CUDA, which has no kernel for its {', '.join(left_out)}; serve an export "
            "for CUDA (GroupQueryAttention in fp16, in some folders the variant :fp16), or use --execution-provider cpu"
        )
    return session


def _load_on(
    provider: str, path: Path, options: SessionOptions, graph: GraphInPlace | None = None
) -> ort.InferenceSession:
    """A session on a provider; silently on the CPU if onnxruntime does not find the libraries of the provider."""
    session_options = _session_options(options, provider)
    if graph is not None:
        session_options.add_session_config_entry(_EXTERNAL_DATA_FOLDER, str(graph.folder))
    return ort.InferenceSession(
        str(path) if graph is None else graph.model,
        session_options,
        providers=[_with_options(provider, options)],
        enable_fallback=False,  # the fallback would print the error and try the CPU
    )


def _compute_on_cpu(session: ort.InferenceSession) -> list[str]:
    """Types of operators that must run on the device, but that onnxruntime assigned to the CPU."""
    op_types = {
        node.op_type
        for assigned in session.get_provider_graph_assignment_info()
        if assigned.ep_name == _CPU
        for node in assigned.get_nodes()
    }
    return sorted(filter(_COMPUTE.search, op_types))


def _session_options(options: SessionOptions, provider: str) -> ort.SessionOptions:
    session_options = ort.SessionOptions()
    session_options.intra_op_num_threads = options.num_threads or usable_processors()
    session_options.inter_op_num_threads = 1
    session_options.enable_mem_pattern = False  # it keeps a plan, and memory, for each new length of a run
    session_options.log_severity_level = 3
    session_options.add_session_config_entry("session.set_denormal_as_zero", "1")
    session_options.add_session_config_entry("session.intra_op.allow_spinning", str(int(options.spinning)))
    session_options.add_session_config_entry("session.disable_prepacking", str(int(not options.prepacking)))
    if provider == _CUDA:
        session_options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    return session_options


def _with_options(provider: str, options: SessionOptions) -> str | tuple[str, dict[str, str]]:
    if provider == _CPU:
        return provider
    return provider, {
        "device_id": str(options.device_id),
        "arena_extend_strategy": "kSameAsRequested",
        "use_tf32": "0",
    }


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _zeros_on_cuda(shape: Sequence[int], element_type: ElementType, device_id: int) -> ort.OrtValue:
    try:
        value = ort.OrtValue.ortvalue_from_shape_and_type(list(shape), element_type.numpy, "cuda", device_id)
        value.update_inplace(np.zeros(shape, element_type.numpy))
    except Exception as error:  # onnxruntime has no exception class for lack of memory
        raise MemoryError(_first_line(error)) from error
    return value


def _device(kind: str, device_id: int) -> ort_state.OrtDevice:
    return ort.OrtDevice.make(kind, device_id)._get_c_device()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]


def _tensors(arguments: Sequence[ort.NodeArg]) -> Mapping[str, TensorInfo]:
    return {
        argument.name: TensorInfo(name=argument.name, type_name=argument.type, shape=tuple(argument.shape))
        for argument in arguments
    }
