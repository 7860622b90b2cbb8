"""The reference of an export: what greedy decoding gives, computed by the plainest loop there is.

What computes it depends on the export:

- `transformers`: float32 exports. The checkpoint itself, the whole text in each step.
- `uncached`: other precisions, and float32 exports that do not compute what their checkpoint does. The untouched ONNX
  file, the whole text in each step, with empty caches.
- `cached`: dynamic quantization, which has one scale for all tokens of a run. Its output depends on how a text is cut
  into runs, so the reference is cut as the server cuts it: the prompt in one run, and each further token in its own.
  `uncached_agreement` is the part of these tokens that an uncached loop gives after the same text.

A prompt is taken if every step of it has a margin: the largest logit stands out by more than rounding can change. So a
difference is an error and not a tie. `least_margin` is the least of the row, in parts of the range of the logits.
"""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModelForCausalLM

from models.public_exports.architectures import Architecture

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # noqa: TID251  before ONNX Runtime is loaded

import onnxruntime

_LENGTHS = (1, 2, 7, 16, 33, 65, 130, 200)
_SHORT_LENGTHS = (1, 2, 3, 5, 7, 11, 16, 24)
"""For a context of 64 tokens."""
_NUM_TOKENS = 40
_MARGIN, _MARGIN_OTHER, _MARGIN_INT4 = 0.0005, 0.002, 0.004
"""Of float32, of other precisions, and of weights in 4 bits, where products of one row round in another way."""
_MAX_TRIES = 60
_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
_DYNAMIC = ("js-int8", "js-uint8", "js-quantized")

Forward = Callable[[Sequence[int]], NDArray[np.float32]]
"""Gives the logits (V,) after the last token of a text."""


def reference_of(
    architecture: Architecture, name: str, variant: str, folder: Path, checkpoint: Path
) -> dict[str, object]:
    """Prompts and outputs of a variant of the architecture with that name, and what computed them."""
    lengths = _SHORT_LENGTHS if name == "long-rope" else _LENGTHS
    is_float32 = variant.startswith(("optimum", "builder-fp32")) or variant == "js-slim"
    if is_float32 and not (architecture.is_changed_by_builder and variant.startswith("builder")):
        attention = architecture.optimum_attention if "builder" not in variant else "eager"
        found = greedy_reference(name, transformers_forward(checkpoint, attention), _MARGIN, lengths)
        return {"origin": "transformers", **found}
    file = next(folder.rglob("*.onnx"))
    config = json.loads((folder / "config.json").read_text())
    seed = f"{name}-{variant}"
    if variant not in _DYNAMIC:
        margin = _MARGIN_INT4 if variant.startswith("builder-int4") else _MARGIN_OTHER
        return {"origin": "uncached", **greedy_reference(seed, onnx_forward(file, config), margin, lengths)}
    found = greedy_reference(seed, CachedForward(file, config), _MARGIN_OTHER, lengths)
    agreed = agreement(onnx_forward(file, config), found["prompts"], found["outputs"])
    return {"origin": "cached", "uncached_agreement": round(agreed, 3), **found}


def transformers_forward(checkpoint: Path, attention: str) -> Forward:
    """Computes with transformers, without a cache."""
    model = AutoModelForCausalLM.from_pretrained(checkpoint, attn_implementation=attention, dtype=torch.float32).eval()

    def forward(token_ids: Sequence[int]) -> NDArray[np.float32]:
        with torch.no_grad():
            return model(torch.tensor([list(token_ids)]), use_cache=False).logits[0, -1].numpy()

    return forward


def onnx_forward(file: Path, config: dict[str, int]) -> Forward:
    """Runs the whole text in one run, with empty caches."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    head = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    pasts = {
        value.name: np.zeros(
            # A windowed cache has a fixed size: nothing of it is read, because the text is one first prompt.
            (1, value.shape[1], 512 if "sliding" in str(value.shape[2]) else 0, head),
            _TYPES[value.type],
        )
        for value in session.get_inputs()
        if value.name.startswith("past_key_values.")
    }
    takes_positions = "position_ids" in {value.name for value in session.get_inputs()}

    def forward(token_ids: Sequence[int]) -> NDArray[np.float32]:
        ids = np.array([token_ids], np.int64)
        feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids)} | pasts
        if takes_positions:
            feeds["position_ids"] = np.arange(ids.shape[1], dtype=np.int64)[None]
        (logits,) = session.run(["logits"], feeds)
        return logits[0, -1].astype(np.float32)

    return forward


def greedy(forward: Forward, prompt: Sequence[int], least_margin: float) -> tuple[list[int], float] | None:
    """The tokens and the least margin, or None if a margin is too small."""
    output: list[int] = []
    least = 1.0
    while len(output) < _NUM_TOKENS:
        logits = forward([*prompt, *output])
        second, first = np.partition(logits, -2)[-2:]
        least = min(least, float((first - second) / np.ptp(logits)))
        if not least >= least_margin:
            return None
        output.append(int(logits.argmax()))
    return output, least


def greedy_reference(name: str, forward: Forward, least_margin: float, lengths: Sequence[int]) -> dict[str, object]:
    """A prompt of each length with what greedy decoding gives after it. The name seeds the prompts."""
    found = [_with_margin(f"{name} {length}", forward, least_margin, length) for length in lengths]
    return {
        "least_margin": round(min(margin for _, _, margin in found), 5),
        "prompts": [prompt for prompt, _, _ in found],
        "outputs": [output for _, output, _ in found],
    }


def _with_margin(name: str, forward: Forward, least_margin: float, length: int) -> tuple[list[int], list[int], float]:
    for attempt in range(_MAX_TRIES):
        seed = int.from_bytes(hashlib.sha256(f"{name} {attempt}".encode()).digest()[:8])
        prompt = np.random.default_rng(seed).integers(0, 256, length).tolist()
        if (found := greedy(forward, prompt, least_margin)) is not None:
            return prompt, *found
    raise RuntimeError(f"{name}: no prompt keeps a margin of {least_margin} in {_MAX_TRIES} tries")


class CachedForward:
    """Runs a prompt in one run and each further token in a run of its own, as a server does.

    Dynamic quantization has one scale for all tokens of a run, so its output depends on how a text is cut into runs.
    """

    def __init__(self, file: Path, config: dict[str, int]) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        inputs = {value.name: value for value in self._session.get_inputs()}
        self._takes_positions = "position_ids" in inputs
        head = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
        self._empty = {
            name: np.zeros((1, value.shape[1], 0, head), _TYPES[value.type])
            for name, value in inputs.items()
            if name.startswith("past_key_values.")
        }
        self._text: list[int] = []
        self._caches = self._empty

    def __call__(self, token_ids: Sequence[int]) -> NDArray[np.float32]:
        """Logits (V,) after a text, which is the last one and one more token, or a new one."""
        if list(token_ids[:-1]) != self._text or not self._text:
            self._text, self._caches = [], self._empty
        start, total = len(self._text), len(token_ids)
        feeds = {
            "input_ids": np.array([token_ids[start:]], np.int64),
            "attention_mask": np.ones((1, total), np.int64),
            **self._caches,
        }
        if self._takes_positions:
            feeds["position_ids"] = np.arange(start, total, dtype=np.int64)[None]
        presents = [name.replace("past_key_values", "present") for name in self._empty]
        logits, *caches = self._session.run(["logits", *presents], feeds)
        self._text, self._caches = list(token_ids), dict(zip(self._empty, caches, strict=True))
        return logits[0, -1]


def agreement(forward: Forward, prompts: Sequence[Sequence[int]], outputs: Sequence[Sequence[int]]) -> float:
    """The part of the output tokens that another way of computing gives, too, after the same text."""
    same = [
        int(forward([*prompt, *output[:step]]).argmax()) == token
        for prompt, output in zip(prompts, outputs, strict=True)
        for step, token in enumerate(output)
    ]
    return sum(same) / len(same)
