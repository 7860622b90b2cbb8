"""A Llama style decoder in PyTorch, with Hugging Face weight names."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from testing.other_exporters.decoder_config import DecoderConfig


@dataclass(slots=True)
class LayerCache:
    """The keys and values of one layer's past positions, (B, KV heads, S, D) each."""

    keys: Tensor
    values: Tensor

    def extend(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Appends the new positions and returns all of them."""
        self.keys = torch.cat([self.keys, keys], dim=2)
        self.values = torch.cat([self.values, values], dim=2)
        return self.keys, self.values


class Linear(nn.Linear):
    """A matrix product. If rough, it multiplies in bfloat16, several times faster with AMX or on a GPU."""

    is_rough = False

    def forward(self, rows: Tensor) -> Tensor:
        return rough_product(rows, self.weight) if self.is_rough else functional.linear(rows, self.weight)


def rough_product(rows: Tensor, matrix: Tensor) -> Tensor:
    """A product of bfloat16 factors with float32 sums and a float32 result."""
    return functional.linear(rows.bfloat16(), matrix.bfloat16()).float()


class Attention(nn.Module):
    """Grouped-query attention with rotary positions. If rough, it runs in bfloat16 on a GPU, as the kernel requires."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.head_dim = config.head_dim
        self.q_proj = Linear(config.hidden_size, config.query_size, bias=False)
        self.k_proj = Linear(config.hidden_size, config.kv_size, bias=False)
        self.v_proj = Linear(config.hidden_size, config.kv_size, bias=False)
        self.o_proj = Linear(config.query_size, config.hidden_size, bias=False)

    def forward(self, hidden: Tensor, rotation: tuple[Tensor, Tensor], cache: LayerCache | None) -> Tensor:
        query, key, value = (
            side(hidden).unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
            for side in (self.q_proj, self.k_proj, self.v_proj)
        )
        query, key = rotate(query, rotation), rotate(key, rotation)
        is_causal = cache is None or cache.keys.shape[2] == 0
        assert is_causal or hidden.shape[1] == 1, "a cache is extended by a whole prompt, then by one token at a time"
        if cache is not None:
            key, value = cache.extend(key, value)
        if self.q_proj.is_rough and hidden.is_cuda:
            query, key, value = query.bfloat16(), key.bfloat16(), value.bfloat16()
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=is_causal, enable_gqa=True)
        return self.o_proj(mixed.transpose(1, 2).flatten(2).to(hidden.dtype))


class Mlp(nn.Module):
    """The gated feed-forward network of a layer."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.gate_proj = Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, hidden: Tensor) -> Tensor:
        return self.down_proj(functional.silu(self.gate_proj(hidden)) * self.up_proj(hidden))


class Layer(nn.Module):
    """Attention, then the feed-forward network, each added to the residual stream."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.input_layernorm = nn.RMSNorm(config.hidden_size, eps=config.norm_eps)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = nn.RMSNorm(config.hidden_size, eps=config.norm_eps)
        self.mlp = Mlp(config)

    def forward(self, hidden: Tensor, rotation: tuple[Tensor, Tensor], cache: LayerCache | None) -> Tensor:
        hidden = hidden + self.self_attn(self.input_layernorm(hidden), rotation, cache)
        return hidden + self.mlp(self.post_attention_layernorm(hidden))


class Body(nn.Module):
    """Everything except the output layer."""

    cosines: Tensor
    sines: Tensor

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_layers))
        self.norm = nn.RMSNorm(config.hidden_size, eps=config.norm_eps)
        cosines, sines = rotation_tables(config)
        self.register_buffer("cosines", cosines, persistent=False)
        self.register_buffer("sines", sines, persistent=False)

    def forward(self, ids: Tensor, first_position: int = 0, caches: list[LayerCache] | None = None) -> Tensor:
        positions = slice(first_position, first_position + ids.shape[1])
        rotation = self.cosines[positions], self.sines[positions]
        hidden = self.embed_tokens(ids)
        for place, layer in enumerate(self.layers):
            hidden = layer(hidden, rotation, caches[place] if caches is not None else None)
        return self.norm(hidden)


class Decoder(nn.Module):
    """Maps token ids (B, T) to hidden states (B, T, H); `logits` maps those to scores over the vocabulary."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.model = Body(config)
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                is_output = name.endswith(("o_proj.weight", "down_proj.weight"))
                nn.init.normal_(weight, std=0.02 / (2 * config.num_layers) ** 0.5 if is_output else 0.02)

    @classmethod
    def of(cls, config: DecoderConfig, weights: Mapping[str, Tensor]) -> Self:
        """A trained model on the CPU, for inference."""
        model = cls(config)
        model.load_state_dict(weights)
        return model.eval()

    def forward(self, ids: Tensor, first_position: int = 0, caches: list[LayerCache] | None = None) -> Tensor:
        return self.model(ids, first_position, caches)

    def logits(self, hidden: Tensor) -> Tensor:
        """(..., H) to (..., V): the output layer is the embedding table."""
        return functional.linear(hidden, self.model.embed_tokens.weight)

    def make_rough(self) -> None:
        """Makes the layers multiply in bfloat16."""
        for module in self.modules():
            if isinstance(module, Linear):
                module.is_rough = True

    def new_caches(self, batch_size: int) -> list[LayerCache]:
        """Empty caches for decoding."""
        empty = torch.empty(batch_size, self.config.num_kv_heads, 0, self.config.head_dim)
        return [LayerCache(keys=empty, values=empty) for _ in range(self.config.num_layers)]


def rotation_tables(config: DecoderConfig) -> tuple[Tensor, Tensor]:
    """Cosines and sines by position, (max_positions, D)."""
    assert config.rope_theta is not None
    exponents = torch.arange(0, config.head_dim, 2, dtype=torch.float32) / config.head_dim
    angles = torch.outer(torch.arange(config.max_positions, dtype=torch.float32), config.rope_theta**-exponents)
    angles = torch.cat([angles, angles], dim=1)
    return angles.cos(), angles.sin()


def rotate(heads: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """Rotates each pair of coordinates, half a head apart, by the angle of its position."""
    cosines, sines = rotation
    first, second = heads.chunk(2, dim=-1)
    return heads * cosines + torch.cat([-second, first], dim=-1) * sines
