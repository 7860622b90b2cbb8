"""Describes a family of models, and reads the parts of config.json that most families share."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast

from onward_server.errors import ExportError
from onward_server.export.architectures.config_values import ConfigValues
from onward_server.export.architectures.naming import LLAMA, Naming
from onward_server.export.architectures.rope import ropes_of_layer_types
from onward_server.export.decoder_config import Activation, DecoderConfig, Layer, Projection

LayerType: TypeAlias = Literal["full_attention", "sliding_attention"]

MAX_LAYERS = 1024
_ACTIVATIONS: Mapping[str, Activation] = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_accurate": "gelu_tanh",
    "relu": "relu",
    "relu2": "relu2",
}
"""The names that transformers has for the activations that a graph can have."""

ATTENTION: frozenset[Projection] = frozenset({"q_proj", "k_proj", "v_proj", "o_proj"})
QUERY_KEY_VALUE: frozenset[Projection] = frozenset({"q_proj", "k_proj", "v_proj"})
MLP: frozenset[Projection] = frozenset({"gate_proj", "up_proj", "down_proj"})
UNGATED_MLP: frozenset[Projection] = frozenset({"up_proj", "down_proj"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A `model_type` that can be exported."""

    defaults: Mapping[str, object]
    """The values that the configuration class of transformers has for keys that config.json lacks."""
    decoder: Callable[[ConfigValues], DecoderConfig]
    naming: Naming = LLAMA


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """The keys of config.json that have other names in some families."""

    activation: str = "hidden_act"
    norm_eps: str = "rms_norm_eps"


def standard_decoder(
    config: ConfigValues,
    layers: Sequence[Layer],
    *,
    biases: frozenset[Projection] = frozenset(),
    keys: Keys | None = None,
) -> DecoderConfig:
    """A decoder with the sizes, norms and activation of config.json, and otherwise that of Llama.

    Raises:
        ExportError: A value is missing or invalid.
    """
    keys = keys or Keys()
    num_heads = config.size("num_attention_heads")
    return DecoderConfig(
        model_type=config.text("model_type"),
        vocab_size=config.size("vocab_size"),
        hidden_size=config.size("hidden_size"),
        intermediate_size=config.size("intermediate_size"),
        num_heads=num_heads,
        num_kv_heads=num_kv_heads(config, num_heads),
        head_dim=head_dim(config),
        max_positions=config.size("max_position_embeddings"),
        layers=tuple(layers),
        tied_embeddings=config.flag("tie_word_embeddings"),
        biases=biases,
        norm_eps=config.number(keys.norm_eps),
        activation=activation(config, keys.activation),
    )


def head_dim(config: ConfigValues) -> int:
    """The size of a head, which is a part of the hidden size unless config.json gives another.

    Raises:
        ExportError: The hidden size is not a multiple of the number of heads.
    """
    given = config.optional_size("head_dim")
    if given is not None:
        return given
    hidden, num_heads = config.size("hidden_size"), config.size("num_attention_heads")
    if hidden % num_heads:
        raise config.invalid("hidden_size", f"a multiple of num_attention_heads = {num_heads}")
    return hidden // num_heads


def num_kv_heads(config: ConfigValues, num_heads: int) -> int:
    """The number of heads of keys and values, which is that of the query heads unless config.json gives another.

    Raises:
        ExportError: The number of query heads is not a multiple of it.
    """
    number = config.optional_size("num_key_value_heads") or num_heads
    if num_heads % number:
        raise config.invalid("num_key_value_heads", f"a divisor of num_attention_heads = {num_heads}")
    return number


def activation(config: ConfigValues, key: str) -> Activation:
    """The activation of the MLP.

    Raises:
        ExportError: It is not supported.
    """
    name = config.text(key)
    if name not in _ACTIVATIONS:
        raise config.invalid(key, f"one of {', '.join(sorted(_ACTIVATIONS))}")
    return _ACTIVATIONS[name]


def biases_if(config: ConfigValues, **projections: frozenset[Projection]) -> frozenset[Projection]:
    """The projections with a bias: those of each key of config.json that is true."""
    return frozenset[Projection]().union(*(found for key, found in projections.items() if config.flag(key)))


def num_layers(config: ConfigValues) -> int:
    """The number of layers."""
    return config.size("num_hidden_layers", MAX_LAYERS)


def layer_types(config: ConfigValues, otherwise: Callable[[int], bool]) -> Sequence[LayerType]:
    """The kinds of attention that config.json lists.

    Args:
        config: The values.
        otherwise: Whether the layer of an index has a sliding window, if config.json has no list.

    Raises:
        ExportError: A kind of layer is not supported.
    """
    number = num_layers(config)
    if config.get("layer_types") is None:
        return ["sliding_attention" if otherwise(index) else "full_attention" for index in range(number)]
    types = config.items("layer_types", number)
    for layer_type in types:
        if layer_type not in ("full_attention", "sliding_attention"):
            raise ExportError(
                f"{config.place}: layer_types has {layer_type!r}, which is not supported; supported are full_attention "
                "and sliding_attention"
            )
    return cast(Sequence[LayerType], types)


def uniform_layers(config: ConfigValues, *, window: int | None = None) -> Sequence[Layer]:
    """Layers that are all the same."""
    rope = ropes_of_layer_types(config, head_dim(config))["full_attention" if window is None else "sliding_attention"]
    return [Layer(rope=rope, window=window)] * num_layers(config)


def alternating_layers(
    config: ConfigValues,
    types: Sequence[LayerType],
    window: int | None,
    *,
    rope_of_sliding: Mapping[str, object] | None = None,
) -> Sequence[Layer]:
    """Layers with and without a window.

    Args:
        config: The values.
        types: The kind of each layer.
        window: The window of sliding layers; None: they have none.
        rope_of_sliding: See `ropes_of_layer_types`.
    """
    ropes = ropes_of_layer_types(config, head_dim(config), of_sliding=rope_of_sliding)
    windows = {"full_attention": None, "sliding_attention": window}
    return [Layer(rope=ropes[layer_type], window=windows[layer_type]) for layer_type in types]


def reject_if(config: ConfigValues, key: str, what: str) -> None:
    """Rejects a variant of a family that the graph cannot express.

    Raises:
        ExportError: The value of the key is set, and neither false nor 0.
    """
    if config.get(key):
        raise ExportError(f"{config.place}: {key} is {config.get(key)!r}: {what} is not supported")
