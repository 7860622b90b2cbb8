"""Writes small model folders with random weights and a matching tokenizer.

They have the inputs and outputs of real exports, grouped-query attention, several layers, a byte-level tokenizer and a
ChatML template. Greedy output varies from token to token, and the same arguments give the same bytes.
"""

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer

from testing.other_exporters.decoder_config import DecoderConfig
from testing.other_exporters.decoder_graph import Layout, build_decoder
from testing.other_exporters.half import narrow_to_float16
from testing.other_exporters.model_folder import SpecialTokens, write_decoder, write_json
from testing.other_exporters.random_weights import random_weights
from testing.other_exporters.weights import WeightFormats

TINY = DecoderConfig(
    vocab_size=512,
    hidden_size=64,
    intermediate_size=128,
    num_layers=3,
    num_heads=4,
    num_kv_heads=2,
    head_dim=16,
    max_positions=256,
)

END_OF_TEXT, TURN_START, TURN_END = CONTROL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
"""Their ids are 0, 1 and 2; ids 0 and 2 end a sequence."""

CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

_PEAKEDNESS = np.float32(3)
"""Scales the logits, so that some tokens are much likelier than others, as in a trained model."""

_TEXT = """
The tide came in before the boats did, and the harbour filled with light. Nobody on the quay could say which of the
seven sails belonged to the ferry; the children guessed, and the old men did not. When the first hull touched stone a
bell rang twice, ropes flew over the water and were caught, and the whole town seemed to breathe out together. Fish,
salt, letters from the islands, a piano wrapped in blankets: everything was carried up the steps by hand. By evening
the baskets were empty, the lamps were lit, and only the gulls went on arguing about what had been promised. Tomorrow
would bring fog, said the harbour master, who was wrong about fog more often than about anything else.
"""


def write_tiny_model(
    directory: Path,
    *,
    layout: Layout = "slots",
    bits: Literal[4, 8] | None = None,
    is_float16: bool = False,
    config: DecoderConfig = TINY,
    seed: int = 0,
) -> Path:
    """Writes a folder that the server loads, and returns it; `bits` quantizes every matrix, float16 is for CUDA."""
    weights = tiny_weights(config, seed=seed)
    integers = {4: WeightFormats(layers="int4", embeddings="int4"), 8: WeightFormats(layers="int8", embeddings="int8")}
    formats = WeightFormats() if bits is None else integers[bits]
    model = build_decoder(config, weights, layout=layout, formats=formats)
    if is_float16:
        narrow_to_float16(model)
    write_decoder(directory, config, model, tokens=SpecialTokens(eos=(2, 0)))
    write_tiny_tokenizer(directory)
    return directory


def tiny_weights(config: DecoderConfig, *, seed: int) -> dict[str, NDArray[np.float32]]:
    """The weights that `write_tiny_model` writes, before it quantizes them."""
    weights = random_weights(config, seed=seed)
    weights["model.norm.weight"] *= _PEAKEDNESS
    return weights


def write_tiny_tokenizer(directory: Path, *, control_tokens: tuple[str, ...] = ()) -> None:
    """Writes a byte-level BPE of 512 tokens, and the template beside it; `control_tokens` are added to it."""
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=512,
        min_frequency=1,
        show_progress=False,
        special_tokens=[*CONTROL_TOKENS, *control_tokens],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator([" ".join(_TEXT.split())], trainer)
    tokenizer.save(str(directory / "tokenizer.json"))
    names = {"eos_token": TURN_END, "pad_token": END_OF_TEXT}
    write_json(directory / "tokenizer_config.json", {**names, "chat_template": CHATML})
