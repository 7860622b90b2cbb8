"""The inputs and outputs of a decoder graph, read from its session.

Known inputs: `input_ids` and `position_ids` (B, S), `attention_mask` (B, total), `num_logits_to_keep` (), and per layer
`past_key_values.{i}.key|value` (B, H_kv, past, D). Outputs: `logits` (B, S, V) and `present.{i}.key|value`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from onward_server.errors import ModelFolderError
from onward_server.model.json_file import JsonObject
from onward_server.model.onnx_session import ElementType, OnnxSession, TensorInfo

_PAST = re.compile(r"past_key_values\.(\d+)\.(key|value)")
_KNOWN_INPUTS = frozenset({"input_ids", "attention_mask", "position_ids", "num_logits_to_keep"})


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheTensor:
    """The keys or the values of one layer."""

    past_name: str
    present_name: str
    num_heads: int
    head_dim: int
    element_type: ElementType

    @property
    def token_bytes(self) -> int:
        """Bytes for one token."""
        return self.num_heads * self.head_dim * self.element_type.numpy.itemsize


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderIO:
    """A decoder's inputs and outputs."""

    caches: tuple[CacheTensor, ...]
    vocabulary_size: int
    logits_type: ElementType
    has_mask: bool
    has_positions: bool
    has_num_logits: bool

    @classmethod
    def of(cls, session: OnnxSession, config: JsonObject) -> "DecoderIO":
        """Reads them from a session; sizes that the graph leaves open come from config.json.

        Raises:
            ModelFolderError: An input is unknown, or a required input, output or size is missing.
        """
        past = {name: match for name in session.inputs if (match := _PAST.fullmatch(name))}
        unknown = sorted(set(session.inputs) - past.keys() - _KNOWN_INPUTS)
        if unknown:
            raise ModelFolderError(
                f"the model has inputs that are not supported: {', '.join(unknown)}; export it as a causal decoder"
            )
        if "input_ids" not in session.inputs or "logits" not in session.outputs:
            raise ModelFolderError(
                "the model has no input input_ids or no output logits; export it as a causal decoder"
            )
        if not past:
            raise ModelFolderError(
                "the model has no past_key_values inputs; export it with a KV cache (text-generation-with-past)"
            )
        logits = session.outputs["logits"]
        return cls(
            caches=tuple(
                _cache(session.inputs[name], f"present.{past[name][1]}.{past[name][2]}", session.outputs, config)
                for name in sorted(past, key=lambda name: (int(past[name][1]), past[name][2]))
            ),
            vocabulary_size=_dimension(logits, -1, _config_numbers(config, "vocab_size")),
            logits_type=logits.element_type,
            has_mask="attention_mask" in session.inputs,
            has_positions="position_ids" in session.inputs,
            has_num_logits="num_logits_to_keep" in session.inputs,
        )

    @property
    def token_bytes(self) -> int:
        """Bytes of keys and values for one token over all layers."""
        return sum(cache.token_bytes for cache in self.caches)

    def logits_bytes(self, *, num_slots: int, prefill_chunk: int) -> int:
        """Maximum bytes of logits in a step.

        There is a row for each slot, each token of a chunk, and the spare token of a prefill run (see
        `slot_causal_lm`).
        """
        num_prefill = 2 if self.has_num_logits else prefill_chunk + 1
        return (num_slots + num_prefill) * self.vocabulary_size * self.logits_type.numpy.itemsize


def _cache(info: TensorInfo, present_name: str, outputs: Mapping[str, TensorInfo], config: JsonObject) -> CacheTensor:
    if present_name not in outputs:
        raise ModelFolderError(f"the model has the input {info.name} but no output {present_name}")
    if len(info.shape) != 4:
        raise ModelFolderError(
            f"the model's {info.name} has {len(info.shape)} axes; it must have 4: batch, heads, length and head size"
        )
    heads = _config_numbers(config, "num_attention_heads", "n_head")
    hidden = _config_numbers(config, "hidden_size", "n_embd")
    head_dims = _config_numbers(config, "head_dim", "head_size") or [
        h // n for h, n in zip(hidden, heads, strict=False)
    ]
    return CacheTensor(
        past_name=info.name,
        present_name=present_name,
        num_heads=_dimension(info, 1, _config_numbers(config, "num_key_value_heads") or heads),
        head_dim=_dimension(info, 3, head_dims),
        element_type=info.element_type,
    )


def _dimension(info: TensorInfo, axis: int, fallback: Sequence[int]) -> int:
    size = info.shape[axis]
    if isinstance(size, int) and size > 0:
        return size
    if fallback:
        return fallback[0]
    raise ModelFolderError(
        f"neither the graph nor config.json gives the size of axis {axis} of the model's {info.name}"
    )


def _config_numbers(config: JsonObject, *keys: str) -> list[int]:
    return [value for key in keys if isinstance(value := config.get(key), int) and value > 0]
