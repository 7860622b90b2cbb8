"""Small random models in GGUF files, with the tensor names and the row order that llama.cpp's converter gives them."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, pre_tokenizers

from onward_server.export.decoder_config import DecoderConfig, Layer, Rope
from tests.gguf_files import Stored, write_gguf
from tests.gguf_vocabularies import byte_level_metadata

Floats = NDArray[np.float32]

VOCABULARY = 260
END = 258

SIZES: Mapping[str, object] = {
    "context_length": 128,
    "embedding_length": 64,
    "block_count": 2,
    "feed_forward_length": 96,
    "attention.head_count": 4,
    "attention.head_count_kv": 2,
    "attention.layer_norm_rms_epsilon": 1e-5,
}
_MODULES: Mapping[str, str] = {
    "embed_tokens": "token_embd",
    "lm_head": "output",
    "final_norm": "output_norm",
    "attention_norm": "attn_norm",
    "mlp_norm": "ffn_norm",
    "attention_output_norm": "post_attention_norm",
    "mlp_output_norm": "post_ffw_norm",
    "q_norm": "attn_q_norm",
    "k_norm": "attn_k_norm",
    "q_proj": "attn_q",
    "k_proj": "attn_k",
    "v_proj": "attn_v",
    "o_proj": "attn_output",
    "gate_proj": "ffn_gate",
    "up_proj": "ffn_up",
    "down_proj": "ffn_down",
}


def metadata_of(architecture: str, **changes: object) -> dict[str, object]:
    """The metadata of a small model. In the names of changes, `__` stands for `.`; None takes a key away."""
    values = {**SIZES, **{key.replace("__", "."): value for key, value in changes.items()}}
    return {
        "general.architecture": architecture,
        **{f"{architecture}.{key}": value for key, value in values.items() if value is not None},
        **vocabulary(),
    }


def vocabulary() -> dict[str, object]:
    """Metadata of a tokenizer of bytes and one merge, with a control token at the beginning and the end of a text."""
    tokens = [*sorted(pre_tokenizers.ByteLevel.alphabet()), "he"]
    ids = {token: token_id for token_id, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=ids, merges=[("h", "e")]))
    special = ["<|begin|>", "<|end|>", *(f"<|{number}|>" for number in range(VOCABULARY - len(tokens) - 2))]
    tokenizer.add_special_tokens(special)  # pyright: ignore[reportUnknownMemberType]
    return byte_level_metadata(tokenizer, "gpt-2", bos_token_id=END - 1, eos_token_id=END, add_bos_token=False)


def random_weights(config: DecoderConfig, seed: int = 0) -> dict[str, Floats]:
    """Weights by canonical name."""
    random = np.random.default_rng(seed)
    weights: dict[str, Floats] = {}
    for name, shape in config.weight_shapes().items():
        offset = 1.0 if name.endswith("norm.weight") else 0.0
        scale = 0.2 if len(shape) == 1 else 1.5 / shape[1] ** 0.5
        weights[name] = (offset + random.normal(0, scale, shape)).astype(np.float32)
    return weights


def llama_tensors(weights: Mapping[str, Floats], head_dim: int) -> dict[str, Stored]:
    """Weights as a Llama file has them: the two rows of queries or keys that are rotated together are neighbors."""
    return {
        gguf_name(name): _interleaved(weight, head_dim) if {"q_proj", "k_proj"} & {*name.split(".")} else weight
        for name, weight in weights.items()
    }


def plain_tensors(weights: Mapping[str, Floats]) -> dict[str, Stored]:
    """Weights by the names of GGUF."""
    return {gguf_name(name): weight for name, weight in weights.items()}


def _interleaved(rows: Floats, head_dim: int) -> Floats:
    return rows.reshape(-1, 2, head_dim // 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def gguf_name(name: str) -> str:
    """The name of a weight in a file."""
    match name.split("."):
        case ["layers", index, module, part]:
            return f"blk.{index}.{_MODULES[module]}.{part}"
        case [module, part]:
            return f"{_MODULES[module]}.{part}"
        case _:
            raise ValueError(name)


LLAMA_CONFIG = DecoderConfig(
    model_type="llama",
    vocab_size=VOCABULARY,
    hidden_size=64,
    intermediate_size=96,
    num_heads=4,
    num_kv_heads=2,
    head_dim=16,
    max_positions=128,
    layers=(Layer(rope=Rope(frequencies=tuple(10_000.0 ** (-pair / 8) for pair in range(8)))),) * 2,
    tied_embeddings=True,
)
"""What `metadata_of("llama")` describes."""


def write_llama(
    path: Path, config: DecoderConfig = LLAMA_CONFIG, metadata: Mapping[str, object] | None = None
) -> dict[str, Floats]:
    """Writes a Llama of random weights, and returns them by canonical name."""
    weights = random_weights(config)
    write_gguf(path, metadata_of("llama") if metadata is None else metadata, llama_tensors(weights, config.head_dim))
    return weights
