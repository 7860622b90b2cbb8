"""Describes the model of a GGUF file by a config.json."""

from dataclasses import dataclass

from onward_server.errors import ExportError
from onward_server.export.gguf_model.architectures import ARCHITECTURES, Values
from onward_server.export.gguf_model.gguf_file import GgufFile
from onward_server.export.gguf_model.model_values import ARCHITECTURE, ModelValues
from onward_server.export.gguf_model.tensor_names import TOKEN_EMBEDDINGS


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDescription:
    """A decoder according to the metadata."""

    config: Values
    """A config.json."""
    interleaved_rope: bool
    """The rows of queries and keys are in the order in which dimension 2 i is rotated with dimension 2 i + 1."""
    gated: bool
    """The MLP has a gate."""


def describe_model(file: GgufFile) -> ModelDescription:
    """Reads the metadata of a model.

    Raises:
        ExportError: The architecture or a variant of it is not supported, or a value is missing or invalid.
    """
    name = file.metadata.text(ARCHITECTURE)
    architecture = ARCHITECTURES.get(name)
    if architecture is None:
        raise ExportError(
            f"{ARCHITECTURE} is {name!r}, which cannot be exported from GGUF; supported are "
            f"{', '.join(sorted(ARCHITECTURES))}"
        )
    model = ModelValues(file=file, architecture=name)
    _require_plain(model)
    values = {**_sizes(model), **architecture.values(model)}
    return ModelDescription(
        config={"architectures": [architecture.causal_lm], "model_type": architecture.model_type, **values},
        interleaved_rope=architecture.interleaved_rope,
        gated=architecture.gated,
    )


def _require_plain(model: ModelValues) -> None:
    if (experts := model.optional_size("expert_count")) is not None:
        raise ExportError(f"{model.key('expert_count')} is {experts}: a mixture of experts cannot be exported")
    if model.metadata.optional_flag(model.key("attention.causal")) is False:
        raise ExportError(f"{model.key('attention.causal')} is false: only models that continue a text can be exported")
    if (length := model.optional_size("attention.value_length")) not in (None, model.head_dim):
        raise ExportError(
            f"{model.key('attention.value_length')} is {length}; it must be {model.head_dim}, the length of keys"
        )


def _sizes(model: ModelValues) -> Values:
    embeddings = model.file.tensors.get(TOKEN_EMBEDDINGS)
    if embeddings is None or len(embeddings.shape) != 2:
        raise ExportError(f"the tensor {TOKEN_EMBEDDINGS} is missing; name the file that holds the language model")
    return {
        "vocab_size": embeddings.shape[0],
        "hidden_size": model.size("embedding_length"),
        "intermediate_size": model.size("feed_forward_length"),
        "num_hidden_layers": model.num_layers,
        "num_attention_heads": model.num_heads,
        "num_key_value_heads": model.num_kv_heads,
        "head_dim": model.head_dim,
        "max_position_embeddings": model.size("context_length"),
        "tie_word_embeddings": "output.weight" not in model.file.tensors,
    }
