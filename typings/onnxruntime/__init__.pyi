# What the project uses of onnxruntime 1.31, which ships no types.

import os
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from onnxruntime.capi import onnxruntime_pybind11_state as _state

_Array: TypeAlias = npt.NDArray[np.generic]

__version__: str

def get_available_providers() -> list[str]: ...
def preload_dlls(*, cuda: bool = True, cudnn: bool = True, msvc: bool = True, directory: str | None = None) -> None: ...

class NodeArg:
    name: str
    type: str
    shape: list[int | str | None]

class SessionOptions:
    intra_op_num_threads: int
    inter_op_num_threads: int
    enable_mem_pattern: bool
    log_severity_level: int
    enable_profiling: bool
    profile_file_prefix: str
    def add_session_config_entry(self, key: str, value: str, /) -> None: ...

class OrtDevice:
    @staticmethod
    def make(ort_device_name: str, device_id: int) -> OrtDevice: ...
    def _get_c_device(self) -> _state.OrtDevice: ...

class OrtValue:
    def __init__(self, ortvalue: _state.OrtValue) -> None: ...
    @staticmethod
    def ortvalue_from_numpy(numpy_obj: _Array, device_type: str = "cpu", device_id: int = 0) -> OrtValue: ...
    @staticmethod
    def ortvalue_from_shape_and_type(
        shape: Sequence[int], element_type: npt.DTypeLike | int, device_type: str = "cpu", device_id: int = 0
    ) -> OrtValue: ...
    def update_inplace(self, data: _Array) -> None: ...
    def numpy(self) -> _Array: ...
    def data_ptr(self) -> int: ...

class ModelMetadata:
    @property
    def custom_metadata_map(self) -> dict[str, str]: ...

class InferenceSession:
    _sess: _state.InferenceSession
    def __init__(
        self,
        path_or_bytes: str | bytes | os.PathLike[str],
        sess_options: SessionOptions | None = None,
        providers: Sequence[str | tuple[str, Mapping[str, str]]] | None = None,
        *,
        enable_fallback: bool = True,
    ) -> None: ...
    def end_profiling(self) -> str: ...
    def get_providers(self) -> list[str]: ...
    def get_provider_graph_assignment_info(self) -> list[_state.OrtEpAssignedSubgraph]: ...
    def get_inputs(self) -> list[NodeArg]: ...
    def get_overridable_initializers(self) -> list[NodeArg]: ...
    def get_outputs(self) -> list[NodeArg]: ...
    def get_modelmeta(self) -> ModelMetadata: ...
    def run(self, output_names: Sequence[str] | None, input_feed: Mapping[str, _Array]) -> list[_Array]: ...
