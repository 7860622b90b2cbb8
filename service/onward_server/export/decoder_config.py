"""What determines the graph of a decoder, for all families that can be exported."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

Activation: TypeAlias = Literal["silu", "gelu", "gelu_tanh", "relu", "relu2"]
"""`relu2` is the square of relu."""

Projection: TypeAlias = Literal["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "lm_head"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LongRope:
    """The rotation of sequences that are longer than the original context of the model."""

    frequencies: tuple[float, ...]
    scale: float
    above: int
    """Sequences of more tokens than this use it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rope:
    """Rotary position embedding of half-split pairs: dimension i is rotated with dimension i + len(frequencies)."""

    frequencies: tuple[float, ...]
    """Radians per position, for each pair. Dimensions beyond 2 * len(frequencies) are not rotated."""
    scale: float = 1.0
    """Factor of the cosines and sines; YaRN and LongRoPE set it."""
    long: LongRope | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """What differs between the layers of a decoder."""

    rope: Rope | None
    """None: attention has no positions here."""
    window: int | None = None
    """Number of tokens that a token attends to, itself included; None for all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderConfig:
    """Everything that determines the graph except the weights."""

    model_type: str
    """The family, as config.json names it."""
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    max_positions: int
    """Context length."""
    layers: tuple[Layer, ...]
    tied_embeddings: bool
    """The output layer is the embedding table."""
    biases: frozenset[Projection] = frozenset()
    """The projections that have a bias."""
    learned_positions: bool = False
    """A table of position embeddings is added to the token embeddings, as in GPT-2."""

    norm: Literal["rms", "layer"] = "rms"
    """RMS norms have a weight; layer norms have a weight and a bias."""
    norm_eps: float = 1e-5
    input_norms: bool = True
    """Attention and MLP normalize their input."""
    output_norms: bool = False
    """Attention and MLP normalize their output, before it is added to the residual stream (Gemma 2 and 3, OLMo 2)."""
    qk_norm: Literal["heads", "full"] | None = None
    """RMS norm of queries and keys before the rotation: of each head (Qwen3), or of all heads together (OLMo 2)."""

    gated: bool = True
    """The MLP is down(activation(gate(x)) * up(x)); otherwise down(activation(up(x)))."""
    activation: Activation = "silu"
    attention_scale: float | None = None
    """Factor of the attention scores; None for head_dim ** -0.5."""
    attention_softcap: float | None = None
    """Scores become cap * tanh(score / cap)."""
    embedding_scale: float = 1.0
    residual_scale: float = 1.0
    """Factor of the outputs of attention and MLP, which are added to the residual stream."""
    logits_scale: float = 1.0
    """Factor of the logits, before the soft cap."""
    logits_softcap: float | None = None

    @property
    def query_size(self) -> int:
        """Width of all query heads together."""
        return self.num_heads * self.head_dim

    @property
    def kv_size(self) -> int:
        """Width of all key heads together, and of all value heads."""
        return self.num_kv_heads * self.head_dim

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of all weights by canonical name; matrices are [out, in]."""
        shapes: dict[str, tuple[int, ...]] = {"embed_tokens.weight": (self.vocab_size, self.hidden_size)}
        if self.learned_positions:
            shapes["position_embeddings.weight"] = (self.max_positions, self.hidden_size)
        for index in range(len(self.layers)):
            shapes |= {f"layers.{index}.{name}": shape for name, shape in self._layer_shapes().items()}
        shapes |= self._norm_shapes("final_norm")
        if not self.tied_embeddings:
            shapes |= self._projection_shapes("lm_head", self.vocab_size, self.hidden_size)
        return shapes

    def _layer_shapes(self) -> dict[str, tuple[int, ...]]:
        hidden, inner = self.hidden_size, self.intermediate_size
        shapes: dict[str, tuple[int, ...]] = {}
        for part in ("attention", "mlp"):
            if self.input_norms:
                shapes |= self._norm_shapes(f"{part}_norm")
            if self.output_norms:
                shapes |= self._norm_shapes(f"{part}_output_norm")
        shapes |= self._projection_shapes("q_proj", self.query_size, hidden)
        shapes |= self._projection_shapes("k_proj", self.kv_size, hidden)
        shapes |= self._projection_shapes("v_proj", self.kv_size, hidden)
        shapes |= self._projection_shapes("o_proj", hidden, self.query_size)
        if self.qk_norm is not None:
            heads = self.qk_norm == "heads"
            shapes["q_norm.weight"] = (self.head_dim if heads else self.query_size,)
            shapes["k_norm.weight"] = (self.head_dim if heads else self.kv_size,)
        if self.gated:
            shapes |= self._projection_shapes("gate_proj", inner, hidden)
        shapes |= self._projection_shapes("up_proj", inner, hidden)
        return shapes | self._projection_shapes("down_proj", hidden, inner)

    def _norm_shapes(self, name: str) -> dict[str, tuple[int, ...]]:
        parts = ("weight",) if self.norm == "rms" else ("weight", "bias")
        return {f"{name}.{part}": (self.hidden_size,) for part in parts}

    def _projection_shapes(self, name: Projection, rows: int, columns: int) -> dict[str, tuple[int, ...]]:
        shapes: dict[str, tuple[int, ...]] = {f"{name}.weight": (rows, columns)}
        return shapes | {f"{name}.bias": (rows,)} if name in self.biases else shapes
