"""The shape of a Llama or Qwen3 style decoder."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderConfig:
    """Everything that determines the graph except the weights. Weight names are Hugging Face's."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    max_positions: int
    """Context length, and number of rows of the rotary tables."""
    rope_theta: float | None = 10_000.0
    """None: attention uses no positions."""
    norm_eps: float = 1e-5
    attention_bias: bool = False
    """Query, key and value projections have a bias, as in Qwen2."""
    qk_norm: bool = False
    """Each head of the queries and keys is RMS-normalized before the rotation, as in Qwen3."""
    tied_embeddings: bool = True
    """The output layer is the embedding table, stored once."""

    def __post_init__(self) -> None:
        """Rejects shapes that ONNX Runtime's kernels do not support."""
        if self.num_heads % self.num_kv_heads:
            raise ValueError(f"num_heads ({self.num_heads}) must be a multiple of num_kv_heads ({self.num_kv_heads})")
        if self.rope_theta is not None and self.head_dim % 16:
            raise ValueError(
                f"head_dim ({self.head_dim}) must be a multiple of 16, which the fused rotary kernel requires"
            )

    @property
    def query_size(self) -> int:
        """Width of all query heads together."""
        return self.num_heads * self.head_dim

    @property
    def kv_size(self) -> int:
        """Width of all key heads together, and of all value heads."""
        return self.num_kv_heads * self.head_dim

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of all weights by Hugging Face name; matrices are [out, in]."""
        shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (self.vocab_size, self.hidden_size)}
        for layer in range(self.num_layers):
            shapes |= {f"model.layers.{layer}.{name}": shape for name, shape in self._layer_shapes().items()}
        shapes["model.norm.weight"] = (self.hidden_size,)
        if not self.tied_embeddings:
            shapes["lm_head.weight"] = (self.vocab_size, self.hidden_size)
        return shapes

    def _layer_shapes(self) -> dict[str, tuple[int, ...]]:
        widths = {"q": self.query_size, "k": self.kv_size, "v": self.kv_size}
        shapes: dict[str, tuple[int, ...]] = {"input_layernorm.weight": (self.hidden_size,)}
        for side, width in widths.items():
            shapes[f"self_attn.{side}_proj.weight"] = (width, self.hidden_size)
            if self.attention_bias:
                shapes[f"self_attn.{side}_proj.bias"] = (width,)
        if self.qk_norm:
            shapes |= {f"self_attn.{side}_norm.weight": (self.head_dim,) for side in ("q", "k")}
        return shapes | {
            "self_attn.o_proj.weight": (self.hidden_size, self.query_size),
            "post_attention_layernorm.weight": (self.hidden_size,),
            "mlp.gate_proj.weight": (self.intermediate_size, self.hidden_size),
            "mlp.up_proj.weight": (self.intermediate_size, self.hidden_size),
            "mlp.down_proj.weight": (self.hidden_size, self.intermediate_size),
        }
