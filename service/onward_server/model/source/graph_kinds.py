"""Rejects graphs that are not causal decoders with a KV cache, and names their kind, before weights are loaded."""

import re
from dataclasses import dataclass
from pathlib import Path

from onward_server.errors import ModelFolderError
from onward_server.model.source.json_file import JsonObject
from onward_server.model.source.onnx_file import OnnxFile

_TEXT_ONLY = "serve a model that takes text alone"
_CAUSAL = "serve a causal decoder, which continues a text"
_WITH_CACHE = (
    "export the checkpoint that it was made from with `onward export CHECKPOINT OUTPUT`, or serve that checkpoint"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """A kind of graph that cannot be served. Patterns are searched in lower-case names; `{found}` is the name."""

    what: str
    """What the graph is or does, after its path."""
    remedy: str
    inputs: str | None = None
    outputs: str | None = None
    op_types: str | None = None
    unless_inputs: str | None = None
    """Pattern of inputs that rule the kind out."""


_KINDS = (
    _Kind(
        op_types=r"^epcontext$",
        what="was compiled for one kind of device (operator {found})",
        remedy="serve the .onnx file that it was compiled from",
    ),
    _Kind(
        op_types=r"^(beamsearch|greedysearch|sampling)$",
        what="holds a whole generation loop (operator {found})",
        remedy="export the decoder alone",
    ),
    _Kind(
        op_types=r"^pagedattention$",
        inputs=r"^(block_table|slot_mapping|cumulative_sequence_lengths)",
        what="is an export for PagedAttention ({found}), which runs on CUDA in onnxruntime-genai's own engine only",
        remedy="export it with GroupQueryAttention, as onnxruntime-genai's model builder does by default",
    ),
    _Kind(
        inputs=r"encoder_hidden_states|encoder_attention_mask|encoder_outputs|decoder_input_ids|[._]encoder[._]",
        what="is the decoder of an encoder-decoder model, such as T5, BART or Whisper (input {found})",
        remedy=_CAUSAL,
    ),
    _Kind(
        inputs=r"pixel|image|vision|visual",
        what="takes images (input {found}), so it belongs to a vision-language model",
        remedy=_TEXT_ONLY,
    ),
    _Kind(
        inputs=r"input_features|input_values|audio|speech|wave|^mel",
        what="takes audio (input {found})",
        remedy=_TEXT_ONLY,
    ),
    _Kind(
        inputs=r"^inputs?_embeds?$",
        unless_inputs=r"^input_ids$",
        what="takes embeddings instead of token ids (input {found}), as the text part of a vision-language or audio "
        "model does",
        remedy=_TEXT_ONLY,
    ),
    _Kind(
        inputs=r"^(inputs?_)?hidden_states?$",
        what="continues the work of another graph (input {found}), as the head or a part of a split model does",
        remedy="export the decoder as one graph",
    ),
    _Kind(
        inputs=r"conv|ssm|recurrent|mamba|rwkv|wkv|state",
        op_types=r"linearattention|convwithstate|gateddelta",
        what="keeps a recurrent state ({found}), as Mamba, RWKV, LFM2, Qwen3.5 and Granite 4 Hybrid do",
        remedy="serve a model with attention in all layers, whose only state is a KV cache",
    ),
    _Kind(
        outputs=r"audio|wave|spectrogram|speech|image(?!_embed)|pixel",
        what="makes sounds or images (output {found})",
        remedy=_CAUSAL,
    ),
    _Kind(
        outputs=r"last_hidden_state|pooler_output|_embeds?$|sentence_embedding|token_embedding|^embeddings?$",
        unless_inputs=r"past|cache",
        what="is an encoder or embedding model (output {found})",
        remedy=_CAUSAL,
    ),
    _Kind(
        outputs=r"start_logits|end_logits|^scores?$|^probabilit|^labels?$",
        unless_inputs=r"past|cache",
        what="classifies a text (output {found})",
        remedy=_CAUSAL,
    ),
    _Kind(
        inputs=r"token_type_ids",
        unless_inputs=r"past|cache",
        what="is an encoder, such as BERT (input {found})",
        remedy=_CAUSAL,
    ),
)
"""The most specific kinds first."""
_HEAD = re.compile(
    r"For(?:SequenceClassification|TokenClassification|QuestionAnswering|MultipleChoice|MaskedLM)|Reward"
)


def require_causal_decoder(path: Path, onnx_file: OnnxFile, config: JsonObject) -> None:
    """Checks the names of inputs, outputs and operators.

    Raises:
        ModelFolderError: The graph is of another kind; the error names the kind and says what to do.
    """
    for kind in _KINDS:
        found = _first_match(kind, onnx_file)
        if found is not None:
            raise ModelFolderError(f"{path} {kind.what.format(found=found)}; {kind.remedy}")
    if any(re.search("past|cache", name) for name in onnx_file.inputs):
        return
    architectures = config.get("architectures")
    if found := _HEAD.search(str(architectures)):
        raise ModelFolderError(
            f"{path} does not continue a text: config.json has architectures = {architectures}; {_CAUSAL}"
        )
    if "input_ids" not in onnx_file.inputs:
        inputs = ", ".join(onnx_file.inputs[:8])
        raise ModelFolderError(
            f"{path} is not a language model that takes token ids: its inputs are {inputs}; {_CAUSAL}"
        )
    raise ModelFolderError(f"{path} has no KV cache, because it has no past_key_values inputs; {_WITH_CACHE}")


def _first_match(kind: _Kind, onnx_file: OnnxFile) -> str | None:
    """The first name that shows the kind."""
    if kind.unless_inputs and _first(kind.unless_inputs, onnx_file.inputs) is not None:
        return None
    return (
        _first(kind.inputs, onnx_file.inputs)
        or _first(kind.outputs, onnx_file.outputs)
        or _first(kind.op_types, sorted(onnx_file.op_types))
    )


def _first(pattern: str | None, names: list[str]) -> str | None:
    return next((name for name in names if pattern and re.search(pattern, name.lower())), None)
