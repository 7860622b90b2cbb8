"""A simple decoder that copies its caches between runs: the reference for the engine."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onward_server.model import onnx_session

Caches = list[NDArray[Any]]

_FATAL_ONLY = 4
_CACHE_TYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(int8)": np.int8,
    "tensor(uint8)": np.uint8,
}


class NaiveDecoder:
    """Runs a model file. Caches are arrays: the keys and values of layer 0, then those of layer 1, and so on."""

    def __init__(self, model: Path | bytes) -> None:
        runtime: Any = onnx_session.ort
        options = runtime.SessionOptions()
        options.log_severity_level = _FATAL_ONLY
        self.session: Any = runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        shapes: dict[str, list[Any]] = {value.name: value.shape for value in self.session.get_inputs()}
        types: dict[str, str] = {value.name: value.type for value in self.session.get_inputs()}
        self.past_names = [name for name in shapes if name.startswith("past_key_values.")]
        self.cache_shapes: list[tuple[int, int]] = [(shapes[name][1], shapes[name][3]) for name in self.past_names]
        self._cache_types = [_CACHE_TYPES[types[name]] for name in self.past_names]
        self._takes_positions = "position_ids" in shapes

    def forward(
        self, token_ids: NDArray[np.int64], caches: Caches | None = None, *, mask: NDArray[np.int64] | None = None
    ) -> tuple[NDArray[np.float32], Caches]:
        """Runs tokens (B, S); returns the logits (B, S, V) and the new caches.

        Without a mask (B, total), all rows have the same length.
        """
        batch, steps = token_ids.shape
        past = caches or [
            np.zeros((batch, heads, 0, width), type_)
            for (heads, width), type_ in zip(self.cache_shapes, self._cache_types, strict=True)
        ]
        total = past[0].shape[2] + steps
        whole = np.ones((batch, total), np.int64) if mask is None else mask
        feeds = {"input_ids": token_ids, "attention_mask": whole}
        if self._takes_positions:
            feeds["position_ids"] = np.tile(np.arange(total - steps, total, dtype=np.int64), (batch, 1))
        present = [name.replace("past_key_values", "present") for name in self.past_names]
        logits, *grown = self.session.run(["logits", *present], feeds | dict(zip(self.past_names, past, strict=True)))
        return logits, grown

    def greedy(self, prompt: list[int], num_tokens: int) -> list[int]:
        """Decodes greedily; ignores end-of-sequence tokens."""
        logits, caches = self.forward(np.array([prompt], np.int64))
        output = [int(logits[0, -1].argmax())]
        while len(output) < num_tokens:
            logits, caches = self.forward(np.array([output[-1:]], np.int64), caches)
            output.append(int(logits[0, -1].argmax()))
        return output
