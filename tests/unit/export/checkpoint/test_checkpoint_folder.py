import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onward_server.errors import ExportError
from onward_server.export.tensors import read_floats
from tests.checkpoint_files import LLAMA, llama_name, llama_weights, opened, safetensors, write_checkpoint

TIED = {**LLAMA, "tie_word_embeddings": True}
UNSTATED = {key: value for key, value in LLAMA.items() if key != "tie_word_embeddings"}


def test_every_weight_has_its_canonical_name_and_its_values(tmp_path: Path) -> None:
    weights = llama_weights()
    source = opened(write_checkpoint(tmp_path, weights=weights))
    assert source.tensors.keys() == source.config.weight_shapes().keys()
    for name, tensor in source.tensors.items():
        assert tensor.shape == source.config.weight_shapes()[name]
        np.testing.assert_array_equal(read_floats(tensor), weights[llama_name(name)])


@pytest.mark.parametrize("prefix", ["", "model.", "transformer.", "language_model.model.", "model.language_model."])
def test_the_prefix_of_the_names_may_differ(prefix: str, tmp_path: Path) -> None:
    weights = {prefix + name.removeprefix("model."): value for name, value in llama_weights(TIED).items()}
    source = opened(write_checkpoint(tmp_path, TIED, weights))
    assert source.tensors.keys() == source.config.weight_shapes().keys()


def test_tables_that_are_computed_anew_are_ignored(tmp_path: Path) -> None:
    weights = {
        **llama_weights(),
        "model.layers.0.self_attn.rotary_emb.inv_freq": np.ones(2, np.float32),
        "model.rotary_emb.inv_freq": np.ones(2, np.float32),
        "model.position_ids": np.arange(64)[None],
    }
    assert opened(write_checkpoint(tmp_path, weights=weights)).tensors


# Tied embeddings


def test_a_missing_output_layer_is_the_embedding_table(tmp_path: Path) -> None:
    for number, config in enumerate((TIED, UNSTATED)):
        weights = llama_weights(TIED)
        source = opened(write_checkpoint(tmp_path / str(number), config, weights))
        assert source.config.tied_embeddings
        assert "lm_head.weight" not in source.tensors


def test_a_missing_output_layer_of_a_model_that_is_not_tied_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"no lm_head\.weight, but config\.json has tie_word_embeddings = false"):
        opened(write_checkpoint(tmp_path, LLAMA, llama_weights(TIED)))


def test_an_output_layer_that_repeats_the_embedding_table_is_stored_once(tmp_path: Path) -> None:
    weights = llama_weights(TIED)
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"].copy()
    assert opened(write_checkpoint(tmp_path, TIED, weights)).config.tied_embeddings


def test_an_output_layer_that_differs_from_the_embedding_table_is_used_whatever_config_says(tmp_path: Path) -> None:
    weights = llama_weights()
    source = opened(write_checkpoint(tmp_path, TIED, weights))
    assert not source.config.tied_embeddings
    np.testing.assert_array_equal(read_floats(source.tensors["lm_head.weight"]), weights["lm_head.weight"])
    source.write_descriptions(output := _folder(tmp_path / "output"))
    assert json.loads((output / "config.json").read_text())["tie_word_embeddings"] is False


def test_an_output_layer_of_integers_is_named_where_it_is_compared_with_the_table(tmp_path: Path) -> None:
    weights = {**llama_weights(TIED), "lm_head.weight": np.zeros((40, 16), np.int32)}
    with pytest.raises(ExportError, match=r"lm_head\.weight has type I32"):
        opened(write_checkpoint(tmp_path, TIED, weights))


# Shards


def test_a_sharded_checkpoint_is_read_as_a_whole(tmp_path: Path) -> None:
    weights = llama_weights()
    folder = _sharded(tmp_path, weights, {})
    for name, tensor in opened(folder).tensors.items():
        np.testing.assert_array_equal(read_floats(tensor), weights[llama_name(name)])


def test_missing_shards_are_named(tmp_path: Path) -> None:
    folder = _sharded(tmp_path, llama_weights(), {})
    (folder / "b.safetensors").unlink()
    with pytest.raises(ExportError, match=r"lacks 1 of the 2 files .* b\.safetensors; download or copy them"):
        opened(folder)


def test_an_index_that_names_the_wrong_shard_is_rejected(tmp_path: Path) -> None:
    folder = _sharded(tmp_path, llama_weights(), {"weight_map": {"model.absent": "a.safetensors"}})
    with pytest.raises(ExportError, match=r"says that model\.absent is in a\.safetensors, which does not have it"):
        opened(folder)


def test_a_weight_in_two_shards_is_that_of_the_index(tmp_path: Path) -> None:
    weights = llama_weights()
    folder = _sharded(tmp_path, weights, {})
    other = {name: weights[name] for name in sorted(weights)[::2]}
    stale = {"model.norm.weight": np.full(16, 9, np.float32)}
    for shard, content in (("a", other), ("b", {name: weights[name] for name in sorted(weights)[1::2]})):
        extra = {} if "model.norm.weight" in content else stale
        (folder / f"{shard}.safetensors").write_bytes(safetensors({**content, **extra}))
    final = opened(folder).tensors["final_norm.weight"]
    np.testing.assert_array_equal(read_floats(final), weights["model.norm.weight"])


def test_a_weight_in_two_shards_that_the_index_leaves_out_is_rejected(tmp_path: Path) -> None:
    folder = _sharded(tmp_path, llama_weights(), {})
    extra = {"model.rotary_emb.inv_freq": np.ones(2, np.float32)}
    (folder / "c.safetensors").write_bytes(safetensors({**extra, "model.position_ids": np.arange(4)}))
    (folder / "d.safetensors").write_bytes(safetensors({**extra, "model.other.position_ids": np.arange(4)}))
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    index["weight_map"] |= {"model.position_ids": "c.safetensors", "model.other.position_ids": "d.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ExportError, match=r"both have model\.rotary_emb\.inv_freq, and .* does not say which to use"):
        opened(folder)


@pytest.mark.parametrize("file", ["../a.safetensors", "/etc/passwd", "sub/a.safetensors", "a.bin", "", 5, None])
def test_an_index_may_only_name_safetensors_files_in_the_folder(file: object, tmp_path: Path) -> None:
    folder = _sharded(tmp_path, llama_weights(), {"weight_map": {"model.norm.weight": file}})
    with pytest.raises(ExportError, match=r"must be the name of a \.safetensors file in the folder"):
        opened(folder)


@pytest.mark.parametrize("index", [{}, {"weight_map": []}, {"weight_map": {}}])
def test_an_index_without_a_weight_map_is_rejected(index: object, tmp_path: Path) -> None:
    folder = _sharded(tmp_path, llama_weights(), {})
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ExportError, match="has no weight_map"):
        opened(folder)


def _sharded(folder: Path, weights: Mapping[str, Any], index: Mapping[str, Any]) -> Path:
    write_checkpoint(folder, weights=weights)
    (folder / "model.safetensors").unlink()
    names = sorted(weights)
    files = {**dict.fromkeys(names[::2], "a.safetensors"), **dict.fromkeys(names[1::2], "b.safetensors")}
    for shard in ("a.safetensors", "b.safetensors"):
        content = {name: weights[name] for name in names if files[name] == shard}
        (folder / shard).write_bytes(safetensors(content))
    weight_map = {**files, **index.get("weight_map", {})}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return folder


# What cannot be exported


def _without(folder: Path, name: str) -> None:
    (folder / name).unlink()


def _replaced(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        (folder / name).write_bytes(b"x")

    return change


def _written(name: str, text: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).write_text(text)

    return change


FOLDERS: Mapping[str, tuple[Callable[[Path], None], str]] = {
    "no-config": (lambda folder: _without(folder, "config.json"), "has no config.json"),
    "no-weights": (lambda folder: _without(folder, "model.safetensors"), "neither model.safetensors nor"),
    "no-tokenizer": (lambda folder: _without(folder, "tokenizer.json"), "no tokenizer.json; copy it from"),
    "pytorch": (_replaced("pytorch_model.bin"), "pytorch_model.bin: weights of PyTorch.*save_pretrained"),
    "gguf": (_replaced("model.Q4_0.gguf"), r"a GGUF file; name the file itself: .*model\.Q4_0\.gguf"),
    "mistral": (_replaced("consolidated.safetensors"), "use the checkpoint in the layout of transformers"),
    "flax": (_replaced("flax_model.msgpack"), "weights of Flax"),
    "renamed": (_replaced("weights.safetensors"), "rename it to model.safetensors"),
    "no-index": (
        _replaced("model-00001-of-00002.safetensors"),
        r"not model\.safetensors\.index\.json, which lists all",
    ),
    "lora": (_replaced("adapter_model.safetensors"), r"an adapter \(LoRA\) alone.*merge it"),
    "lfs-config": (
        _written("config.json", "version https://git-lfs.github.com/spec/v1\noid"),
        r"config\.json is a Git LFS pointer.*git lfs pull",
    ),
    "lfs-weights": (
        _written("model.safetensors", "version https://git-lfs.github.com/spec/v1\noid"),
        r"model\.safetensors is a Git LFS pointer.*git lfs pull",
    ),
    "broken-config": (_written("config.json", "{"), "config.json is not valid JSON"),
    "list-config": (_written("config.json", "[1]"), "config.json must hold a JSON object"),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_that_is_no_checkpoint_says_what_to_do(name: str, tmp_path: Path) -> None:
    change, message = FOLDERS[name]
    change(write_checkpoint(tmp_path))
    with pytest.raises(ExportError, match=message):
        opened(tmp_path)


def test_an_adapter_beside_its_merged_model_is_ignored(tmp_path: Path) -> None:
    (write_checkpoint(tmp_path) / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    assert opened(tmp_path).tensors


@pytest.mark.parametrize("folder", ["absent", "file"])
def test_a_path_that_is_no_folder_is_an_error(folder: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ExportError, match=folder):
        opened(tmp_path / folder)


NORM = "model.layers.1.input_layernorm.weight"
QUERY = "model.layers.0.self_attn.q_proj"
WEIGHTS: Mapping[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "missing": (lambda weights: weights.pop(NORM), f"lacks the weight {NORM}"),
    "shape": (
        lambda weights: weights.update({f"{QUERY}.weight": np.zeros((8, 16), np.float32)}),
        rf"{QUERY}\.weight has shape \[8, 16\], but \[16, 16\] according to config.json",
    ),
    "transposed-vector": (
        lambda weights: weights.update({NORM: np.zeros((16, 1), np.float32)}),
        r"has shape \[16, 1\], but \[16\]",
    ),
    "integers": (
        lambda weights: weights.update({f"{QUERY}.weight": np.zeros((16, 16), np.int32)}),
        r"q_proj\.weight has type I32; only BF16, F16, F32, F64",
    ),
    "unknown": (
        lambda weights: weights.update({f"{QUERY}.bias": np.zeros(16, np.float32)}),
        rf"weights that a model of type 'llama' .* does not have: {QUERY}\.bias;",
    ),
    "another-layer": (
        lambda weights: weights.update({"model.layers.2.mlp.up_proj.weight": np.zeros((24, 16), np.float32)}),
        r"does not have: model\.layers\.2\.mlp\.up_proj\.weight",
    ),
    "gptq": (
        lambda weights: weights.update({f"{QUERY}.qweight": np.zeros((2, 16), np.int32)}),
        rf"is quantized: it has {QUERY}\.qweight",
    ),
    "fp8": (
        lambda weights: weights.update({f"{QUERY}.weight_scale_inv": np.zeros((1, 1), np.float32)}),
        rf"is quantized: it has {QUERY}\.weight_scale_inv",
    ),
    "no-table": (
        lambda weights: weights.pop("model.embed_tokens.weight"),
        "no embedding table, such as model.embed_tok",
    ),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_that_do_not_fit_are_named(name: str, tmp_path: Path) -> None:
    change, message = WEIGHTS[name]
    weights: dict[str, Any] = dict(llama_weights())
    change(weights)
    with pytest.raises(ExportError, match=message):
        opened(write_checkpoint(tmp_path, weights=weights))


# Descriptions


def test_descriptions_state_the_sizes_that_config_lacks(tmp_path: Path) -> None:
    config = {
        key: value for key, value in LLAMA.items() if key not in ("max_position_embeddings", "num_key_value_heads")
    }
    source = opened(write_checkpoint(tmp_path / "checkpoint", config))
    (tmp_path / "checkpoint" / "generation_config.json").write_text('{"eos_token_id": 2}')
    (tmp_path / "checkpoint" / "training_args.bin").write_bytes(b"x")
    source.write_descriptions(output := _folder(tmp_path / "output"))
    written = json.loads((output / "config.json").read_text())
    assert {key: written[key] for key in config} == config
    assert (written["max_position_embeddings"], written["num_key_value_heads"], written["head_dim"]) == (2048, 4, 4)
    assert sorted(file.name for file in output.iterdir()) == ["config.json", "generation_config.json", "tokenizer.json"]


def _folder(path: Path) -> Path:
    path.mkdir()
    return path
