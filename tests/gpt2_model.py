"""Exports a decoder of GPT-2's architecture: learned positions, LayerNorm, biases and GELU; over three symbols."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE

from onward_server.export.decoder_config import DecoderConfig, Layer
from onward_server.export.graph.plan import DecoderPlan
from onward_server.export.tensors import ArrayTensor, RowRange, Tensor
from testing.other_exporters.model_folder import write_json

Weights = Mapping[str, NDArray[np.float32]]

SYMBOLS = "ABC"

NORM_EPS = 1e-5
SHAPE = DecoderConfig(
    model_type="gpt2",
    vocab_size=len(SYMBOLS),
    hidden_size=48,
    intermediate_size=192,
    num_heads=3,
    num_kv_heads=3,
    head_dim=16,
    max_positions=11,
    layers=(Layer(rope=None),) * 3,
    tied_embeddings=False,
    biases=frozenset({"q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj"}),
    learned_positions=True,
    norm="layer",
    norm_eps=NORM_EPS,
    gated=False,
    activation="gelu_tanh",
)
"""Eleven positions hold six symbols of a prompt and six of its completion, since the last one is never fed back."""

_PARTS = {
    "ln_1": "attention_norm",
    "ln_2": "mlp_norm",
    "attn.c_proj": "o_proj",
    "mlp.c_fc": "up_proj",
    "mlp.c_proj": "down_proj",
}


def random_gpt2_weights(*, seed: int) -> dict[str, NDArray[np.float32]]:
    """Weights by the names that minGPT gives them; matrices are [out, in]. The same seed gives the same weights."""
    generator = np.random.default_rng(seed)

    def normal(*shape: int, scale: float) -> NDArray[np.float32]:
        return np.float32(scale) * generator.standard_normal(shape, dtype=np.float32)

    hidden, wide = SHAPE.hidden_size, SHAPE.intermediate_size
    weights = {
        "transformer.wte.weight": normal(SHAPE.vocab_size, hidden, scale=1),
        "transformer.wpe.weight": normal(SHAPE.max_positions, hidden, scale=1),
        "lm_head.weight": normal(SHAPE.vocab_size, hidden, scale=1),
    }
    norms = ["transformer.ln_f"]
    for block in (f"transformer.h.{layer}" for layer in range(len(SHAPE.layers))):
        norms += [f"{block}.ln_1", f"{block}.ln_2"]
        linears = {
            f"{block}.attn.c_attn": (3 * hidden, hidden),
            f"{block}.attn.c_proj": (hidden, hidden),
            f"{block}.mlp.c_fc": (wide, hidden),
            f"{block}.mlp.c_proj": (hidden, wide),
        }
        for name, (rows, columns) in linears.items():
            weights[f"{name}.weight"] = normal(rows, columns, scale=2 * columns**-0.5)
            weights[f"{name}.bias"] = normal(rows, scale=0.1)
    for name in norms:
        weights[f"{name}.weight"] = np.float32(1) + normal(hidden, scale=0.1)
        weights[f"{name}.bias"] = normal(hidden, scale=0.1)
    return weights


def write_gpt2_model(directory: Path, weights: Weights) -> Path:
    """Writes a folder that the server loads in the slots layout, and returns it."""
    directory.mkdir(parents=True, exist_ok=True)
    DecoderPlan.of(SHAPE, dict(_tensors(weights)), "fp32").write(directory)
    shape = {
        "model_type": "gpt2",
        "vocab_size": SHAPE.vocab_size,
        "n_positions": SHAPE.max_positions,
        "n_embd": SHAPE.hidden_size,
        "n_layer": len(SHAPE.layers),
        "n_head": SHAPE.num_heads,
    }
    write_json(directory / "config.json", shape)
    tokenizer = Tokenizer(BPE({symbol: token_id for token_id, symbol in enumerate(SYMBOLS)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(directory / "tokenizer.json"))
    return directory


def _tensors(weights: Weights) -> Iterator[tuple[str, Tensor]]:
    """The weights by the names of the exporter."""
    for name, renamed in (("wte.weight", "embed_tokens.weight"), ("wpe.weight", "position_embeddings.weight")):
        yield renamed, ArrayTensor(weights[f"transformer.{name}"])
    yield "lm_head.weight", ArrayTensor(weights["lm_head.weight"])
    for part in ("weight", "bias"):
        yield f"final_norm.{part}", ArrayTensor(weights[f"transformer.ln_f.{part}"])
        for layer in range(len(SHAPE.layers)):
            for name, renamed in _PARTS.items():
                tensor = ArrayTensor(weights[f"transformer.h.{layer}.{name}.{part}"])
                yield f"layers.{layer}.{renamed}.{part}", tensor
            joined = ArrayTensor(weights[f"transformer.h.{layer}.attn.c_attn.{part}"])
            for index, side in enumerate("qkv"):
                rows = RowRange(joined, index * SHAPE.hidden_size, (index + 1) * SHAPE.hidden_size)
                yield f"layers.{layer}.{side}_proj.{part}", rows
