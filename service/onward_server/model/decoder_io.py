"""The inputs and outputs of a decoder graph, read from its session.

Known inputs, of any integer, float or Boolean type: `input_ids` and `position_ids` (B, S), `attention_mask` (B, total),
`cache_position` (S,), `use_cache_branch` (1,), `num_logits_to_keep` or `logits_to_keep` () or (1,), and the caches of
each layer, such as `past_key_values.{i}.key|value` (B, H_kv, past, D). Outputs: `logits` (B, S, V), or (B, 1, V) or
(B, V) for the last token alone, and the extended caches, such as `present.{i}.key|value`.

Exports of `onward export` whose rotation depends on the length of a sequence have an optional input `rope_length` (1,)
as well, and the property `onward.switch_length`: see decision 0039.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from onward_server.errors import ModelFolderError
from onward_server.model.cache_tensor import CacheTensor, config_numbers
from onward_server.model.onnx_session import ElementType, OnnxSession, TensorInfo
from onward_server.model.source.json_file import JsonObject

_PAST = re.compile(
    r"past(?:_key_values)?[._](?:(?P<kind>key|value)_)?(?P<layer>\d+)(?:[._](?P<part>key_value|key|value))?"
)
_NUM_AXES = {
    "input_ids": (2,),
    "attention_mask": (2,),
    "position_ids": (2,),
    "cache_position": (1,),
    "use_cache_branch": (0, 1),
    "num_logits_to_keep": (0, 1),
    "logits_to_keep": (0, 1),
    "rope_length": (1,),
}
"""The known inputs that are not caches, and how many axes each may have."""
_SWITCH_LENGTH = "onward.switch_length"


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderIO:
    """A decoder's inputs and outputs. An input that the graph does not have is None."""

    caches: tuple[CacheTensor, ...]
    vocabulary_size: int
    logits: TensorInfo
    token_ids: TensorInfo
    mask: TensorInfo | None
    positions: TensorInfo | None
    cache_position: TensorInfo | None
    num_logits: TensorInfo | None
    """Takes the number of last tokens that get logits. It may be an optional input of the graph."""
    cache_branch: TensorInfo | None
    """Chooses between two graphs in one file: true reads the caches and takes one token, false starts a prompt."""
    rope_length: TensorInfo | None = None
    """Takes the length of all sequences, by which their rotation is chosen; 0, its default: each row's own length."""
    switch_length: int | None = None
    """The greatest length that has the rotation of short sequences, in a graph that takes `rope_length`."""

    @classmethod
    def of(
        cls, session: OnnxSession, config: JsonObject, cache_windows: Mapping[str, int] | None = None
    ) -> "DecoderIO":
        """Reads them from a session.

        Args:
            session: The session of the graph.
            config: Gives the sizes that the graph leaves open.
            cache_windows: Attention window of each cache, by the name of its input, that only holds a window.

        Raises:
            ModelFolderError: An input is unknown, or a required input, output or size is missing.
        """
        inputs, outputs = session.inputs, session.outputs
        both = {**session.optional_inputs, **inputs}
        past = {name: match for name in inputs if (match := _PAST.fullmatch(name))}
        _require_causal_decoder(inputs, outputs, past.keys())
        windows = cache_windows or {}
        names = sorted(
            past, key=lambda name: (int(past[name]["layer"]), past[name]["kind"] or past[name]["part"] or "")
        )
        rope_length = _optional(session.optional_inputs, "rope_length")
        vocabulary_size = outputs["logits"].shape[-1]
        if not isinstance(vocabulary_size, int) or vocabulary_size <= 0:
            vocabulary_size = next(iter(config_numbers(config, "vocab_size")), None)
        if vocabulary_size is None:
            raise ModelFolderError("neither the graph nor config.json gives the size of the last axis of logits")
        return cls(
            caches=tuple(
                CacheTensor.of(inputs[name], _present(name, outputs), config, window=windows.get(name, 0))
                for name in names
            ),
            vocabulary_size=vocabulary_size,
            logits=_checked(outputs["logits"]),
            token_ids=_checked(inputs["input_ids"]),
            mask=_optional(inputs, "attention_mask"),
            positions=_optional(inputs, "position_ids"),
            cache_position=_optional(inputs, "cache_position"),
            num_logits=_optional(both, "num_logits_to_keep") or _optional(both, "logits_to_keep"),
            cache_branch=_optional(inputs, "use_cache_branch"),
            rope_length=rope_length,
            switch_length=None if rope_length is None else _switch_length(session.properties),
        )

    @property
    def token_bytes(self) -> int:
        """Bytes of keys and values for one token over all layers."""
        return sum(cache.token_bytes for cache in self.caches)

    @property
    def logits_type(self) -> ElementType:
        """Element type of the logits."""
        return self.logits.element_type

    @property
    def has_last_logits_only(self) -> bool:
        """Whether a run gives the logits of its last token alone, whatever the number of tokens."""
        return len(self.logits.shape) == 2 or (self.logits.shape[1] == 1 and not self.takes_single_tokens)

    @property
    def takes_single_tokens(self) -> bool:
        """Whether a run takes one token a row, even of a prompt."""
        return self.token_ids.shape[1] == 1

    @property
    def takes_single_rows(self) -> bool:
        """Whether a run takes only one row. `cache_position` has no axis for rows, so all have the same length."""
        return self.token_ids.shape[0] == 1 or self.cache_position is not None

    def num_logits_of(self, num_tokens: int, num_wanted: int) -> int:
        """Number of last tokens that get logits in a run of `num_tokens` tokens a row, of which `num_wanted` matter."""
        if self.has_last_logits_only:
            return 1
        return num_tokens if self.num_logits is None else num_wanted

    def new_logits(self, num_rows: int, num_logits: int) -> npt.NDArray[np.generic]:
        """An array for the logits of a run, (rows, logits, V) or as the graph has it."""
        middle = () if len(self.logits.shape) == 2 else (num_logits,)
        return np.empty((num_rows, *middle, self.vocabulary_size), self.logits_type.numpy)

    def logits_bytes(self, *, num_slots: int, prefill_chunk: int) -> int:
        """Maximum bytes of logits in a step.

        There is a row for each slot, each token of a chunk, and the spare token of a prefill run (see
        `slot_causal_lm`).
        """
        num_prefill = self.num_logits_of(prefill_chunk + 1, 2)
        return (num_slots + num_prefill) * self.vocabulary_size * self.logits_type.numpy.itemsize


def _require_causal_decoder(
    inputs: Mapping[str, TensorInfo], outputs: Mapping[str, TensorInfo], past: Collection[str]
) -> None:
    unknown = sorted(set(inputs) - set(past) - _NUM_AXES.keys())
    if any("encoder" in name or ".decoder." in name for name in unknown):
        raise ModelFolderError(
            f"the model is the decoder of an encoder-decoder model, which is not supported: it has the input "
            f"{unknown[0]}; use a causal decoder (text-generation-with-past)"
        )
    if unknown:
        raise ModelFolderError(
            f"the model has inputs that are not supported: {', '.join(unknown)}; export it as a causal decoder"
        )
    if "input_ids" not in inputs or "logits" not in outputs:
        raise ModelFolderError("the model has no input input_ids or no output logits; export it as a causal decoder")
    if not past:
        raise ModelFolderError(
            "the model has no past_key_values inputs; export it with a KV cache (text-generation-with-past)"
        )
    if len(outputs["logits"].shape) not in (2, 3):
        raise ModelFolderError(f"the model's logits have {len(outputs['logits'].shape)} axes; they must have 2 or 3")


def _present(past_name: str, outputs: Mapping[str, TensorInfo]) -> TensorInfo:
    names = [past_name.replace("past_key_values", "present"), past_name.replace("past", "present")]
    for name in names:
        if name in outputs:
            return outputs[name]
    raise ModelFolderError(f"the model has the input {past_name} but no output {names[0]}")


def _optional(inputs: Mapping[str, TensorInfo], name: str) -> TensorInfo | None:
    return _checked(inputs[name]) if name in inputs else None


def _switch_length(properties: Mapping[str, str]) -> int | None:
    text = properties.get(_SWITCH_LENGTH, "")
    return int(text) if text.isdecimal() and len(text) < 10 else None


def _checked(info: TensorInfo) -> TensorInfo:
    """The same tensor, after checking its type and its number of axes."""
    _ = info.element_type
    allowed = _NUM_AXES.get(info.name, ())
    if allowed and len(info.shape) not in allowed:
        raise ModelFolderError(
            f"the model's {info.name} has {len(info.shape)} axes; it must have {' or '.join(map(str, allowed))}"
        )
    return info
