"""Exports a checkpoint as the served model.onnx with its configuration files, and checks the export.

`python -m pocket.export --checkpoint FILE` writes models/pocket/served. With `--mix FILE SHARE` it exports the
weighted mean of two checkpoints.
"""

import argparse
import shutil
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from onward_server.model import onnx_session
from pocket.chat_format import PADDING, SERVED, TURN_END, prompt_text
from pocket.corpus import SKILLS, evaluation_conversations
from pocket.decoder import Decoder
from pocket.tokenizer import load_tokenizer, token_id
from pocket.train import load_model
from testing.other_exporters.decoder_config import DecoderConfig
from testing.other_exporters.decoder_graph import build_decoder
from testing.other_exporters.model_folder import MODEL_FILE, SpecialTokens, model_config, write_json, write_model

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")
MAX_NEW_TOKENS = 256
LARGEST_DIFFERENCE = 1e-3
"""Largest allowed difference of a logit. It is not 0, because the kernels sum in another order."""


def export(model: Decoder, directory: Path) -> None:
    """Writes the model folder that a server loads."""
    tokenizer = load_tokenizer()
    tokens = SpecialTokens(eos=(token_id(tokenizer, TURN_END), token_id(tokenizer, PADDING)))
    weights = {name: weight.detach().numpy() for name, weight in model.named_parameters()}
    write_model(build_decoder(model.config, weights), directory)
    write_json(directory / "config.json", model_config(model.config, tokens))
    generation = {"eos_token_id": list(tokens.eos), "do_sample": False, "max_new_tokens": MAX_NEW_TOKENS}
    write_json(directory / "generation_config.json", generation)
    for file in TOKENIZER_FILES:
        if directory != SERVED:
            shutil.copy(SERVED / file, directory / file)


def mix(model: Decoder, other: Decoder, share: float) -> Decoder:
    """The weighted mean of two models' weights, where the other has the given share.

    Source: Wortsman et al., Robust fine-tuning of zero-shot models, 2022.
    """
    weights, others = model.state_dict(), other.state_dict()
    return Decoder.of(model.config, {name: weights[name].lerp(others[name], share) for name in weights})


def largest_difference(model: Decoder, directory: Path) -> float:
    """The largest difference of a logit between model and export, over one evaluation prompt per skill."""
    runtime = onnx_session.ort  # pyright: ignore[reportPrivateImportUsage]  # imported here, its telemetry would be on
    session = runtime.InferenceSession(directory / MODEL_FILE, providers=["CPUExecutionProvider"])
    tokenizer = load_tokenizer()
    found = 0.0
    for conversation in evaluation_conversations(1):
        ids = tokenizer.encode(prompt_text(conversation), add_special_tokens=False).ids
        with torch.inference_mode():
            expected = model.logits(model(torch.tensor([ids]))).numpy()
        logits = session.run(["logits"], _feeds(model.config, ids))[0]
        found = max(found, float(np.abs(logits - expected).max()))
    return found


def _feeds(config: DecoderConfig, ids: list[int]) -> dict[str, NDArray[np.generic]]:
    empty = np.zeros((1, config.num_kv_heads, 0, config.head_dim), np.float32)
    caches = {
        f"past_key_values.{layer}.{side}": empty for layer in range(config.num_layers) for side in ("key", "value")
    }
    return {"input_ids": np.array([ids]), "attention_mask": np.ones((1, len(ids)), np.int64), **caches}


def main() -> None:
    """Export a checkpoint to a model folder, and check it."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument(
        "--mix", nargs=2, metavar=("FILE", "SHARE"), help="another checkpoint, and its share of the mean"
    )
    parser.add_argument("--output", type=Path, default=SERVED)
    arguments = parser.parse_args()
    model = load_model(arguments.checkpoint)
    if arguments.mix:
        model = mix(model, load_model(Path(arguments.mix[0])), float(arguments.mix[1]))
    export(model, arguments.output)
    difference = largest_difference(model, arguments.output)
    num_bytes = sum(file.stat().st_size for file in arguments.output.iterdir())
    print(f"{arguments.output}: {num_bytes / 1e6:.1f} MB; logits differ from PyTorch's by {difference:.1e} at most")
    if difference > LARGEST_DIFFERENCE:
        raise SystemExit(f"the logits may differ by {LARGEST_DIFFERENCE} at most, over {len(SKILLS)} prompts")


if __name__ == "__main__":
    main()
