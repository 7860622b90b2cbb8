"""Writes checkpoint folders with random weights in bfloat16, of any size. Memory is bounded by a few MiB."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from testing.tiny_model import write_tiny_tokenizer

_CHUNK = 1 << 21

Shapes = Mapping[str, tuple[int, ...]]


def llama_config(
    *, vocab: int, hidden: int, inner: int, layers: int, heads: tuple[int, int], tied: bool
) -> dict[str, object]:
    """A config.json of the family Llama. `heads` are those of queries and those of keys."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": vocab,
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads[0],
        "num_key_value_heads": heads[1],
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "max_position_embeddings": 2048,
        "tie_word_embeddings": tied,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "torch_dtype": "bfloat16",
    }


def write_llama_checkpoint(folder: Path, config: Mapping[str, object], *, num_files: int = 1) -> None:
    """Writes config.json, the small tokenizer of the tests, and the weights in one safetensors file or several."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    write_tiny_tokenizer(folder)
    shapes = _llama_shapes(config)
    names = list(shapes)
    step = -(-len(names) // num_files)
    parts = [names[start : start + step] for start in range(0, len(names), step)]
    files = [
        "model.safetensors" if num_files == 1 else f"model-{index:05}-of-{len(parts):05}.safetensors"
        for index in range(1, len(parts) + 1)
    ]
    for file, part in zip(files, parts, strict=True):
        _write_safetensors(folder / file, {name: shapes[name] for name in part})
    if num_files > 1:
        weight_map = {name: file for file, part in zip(files, parts, strict=True) for name in part}
        index = {"metadata": {}, "weight_map": weight_map}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")


def _llama_shapes(config: Mapping[str, object]) -> Shapes:
    vocab, hidden, inner, layers, heads, kv_heads = (
        int(str(config[key]))
        for key in (
            "vocab_size",
            "hidden_size",
            "intermediate_size",
            "num_hidden_layers",
            "num_attention_heads",
            "num_key_value_heads",
        )
    )
    kv_size = hidden // heads * kv_heads
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (vocab, hidden)}
    for layer in range(layers):
        prefix = f"model.layers.{layer}"
        shapes |= {
            f"{prefix}.input_layernorm.weight": (hidden,),
            f"{prefix}.self_attn.q_proj.weight": (hidden, hidden),
            f"{prefix}.self_attn.k_proj.weight": (kv_size, hidden),
            f"{prefix}.self_attn.v_proj.weight": (kv_size, hidden),
            f"{prefix}.self_attn.o_proj.weight": (hidden, hidden),
            f"{prefix}.post_attention_layernorm.weight": (hidden,),
            f"{prefix}.mlp.gate_proj.weight": (inner, hidden),
            f"{prefix}.mlp.up_proj.weight": (inner, hidden),
            f"{prefix}.mlp.down_proj.weight": (hidden, inner),
        }
    shapes["model.norm.weight"] = (hidden,)
    return shapes if config["tie_word_embeddings"] else {**shapes, "lm_head.weight": (vocab, hidden)}


def _write_safetensors(path: Path, shapes: Shapes) -> None:
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes.items():
        start, end = end, end + 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for seed, (name, shape) in enumerate(shapes.items()):
            for values in _random_values(name, shape, np.random.default_rng(seed)):
                file.write((values.view(np.uint32) >> np.uint32(16)).astype("<u2").data)


def _random_values(name: str, shape: tuple[int, ...], generator: np.random.Generator) -> Iterator[NDArray[np.float32]]:
    mean, deviation = (1.0, 0.1) if "norm" in name else (0.0, shape[-1] ** -0.5)
    remaining = int(np.prod(shape))
    while remaining:
        values = generator.standard_normal(min(remaining, _CHUNK), np.float32)
        yield values * np.float32(deviation) + np.float32(mean)
        remaining -= values.size
