"""How a family names and stores the weights of its layers."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

_LLAMA_MODULES: Mapping[str, str] = {
    "embed_tokens": "embed_tokens",
    "final_norm": "norm",
    "attention_norm": "input_layernorm",
    "mlp_norm": "post_attention_layernorm",
    "q_proj": "self_attn.q_proj",
    "k_proj": "self_attn.k_proj",
    "v_proj": "self_attn.v_proj",
    "o_proj": "self_attn.o_proj",
    "q_norm": "self_attn.q_norm",
    "k_norm": "self_attn.k_norm",
    "gate_proj": "mlp.gate_proj",
    "up_proj": "mlp.up_proj",
    "down_proj": "mlp.down_proj",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Naming:
    """Where a checkpoint has the weights that `DecoderConfig.weight_shapes` names, without the prefix of the model."""

    layers: str = "layers"
    """The list of layers."""
    modules: Mapping[str, str] = field(default_factory=lambda: _LLAMA_MODULES)
    """The checkpoint's name of each module, by canonical name."""
    fused: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """Modules that hold several canonical ones, one below the other."""
    transposed: frozenset[str] = frozenset()
    """Modules whose matrices are stored as [in, out]."""
    norm_offset: float = 0.0
    """A number that is added to the weights of norms."""
    interleaved_rope: bool = False
    """Dimension 2 i is rotated with dimension 2 i + 1."""
    constant_norms: bool = False
    """Norms have neither weights nor biases in the checkpoint: they are 1 and 0."""
    first_position: int = 0
    """The row of the first position in the table of position embeddings."""

    def source_of(self, canonical: str) -> str | None:
        """The fused module that holds a canonical one; None if it is not fused."""
        return next((source for source, parts in self.fused.items() if canonical in parts), None)

    def with_modules(self, modules: Mapping[str, str]) -> "Naming":
        """The same, with other names of some modules."""
        return replace(self, modules={**self.modules, **modules})


LLAMA = Naming()
