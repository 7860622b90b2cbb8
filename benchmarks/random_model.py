"""A small decoder with random weights, with its engine, tokenizer and grammar compiler."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from onward_server.completion.answer.detokenizer import Detokenizer
from onward_server.engine.engine import Engine
from onward_server.grammar.compiler import GrammarCompiler
from onward_server.model.loader import load_model
from onward_server.model.onnx_session import SessionOptions, usable_processors
from onward_server.model.source.folder import ModelFolder
from onward_server.model.tokenizer import Tokenizer
from testing.other_exporters.decoder_config import DecoderConfig
from testing.other_exporters.decoder_graph import build_decoder
from testing.other_exporters.model_folder import SpecialTokens, write_decoder
from testing.other_exporters.random_weights import random_weights
from testing.vocabularies import Vocabulary

_SHAPE = DecoderConfig(
    vocab_size=512,
    hidden_size=32,
    intermediate_size=64,
    num_layers=2,
    num_heads=2,
    num_kv_heads=1,
    head_dim=16,
    max_positions=1040,
)


class RandomModel:
    """A model with random weights: all tokens have similar probabilities."""

    def __init__(self, directory: Path, vocabulary: Vocabulary, *, num_slots: int) -> None:
        """Writes the model to an empty folder and loads it."""
        _write(directory, vocabulary)
        folder = ModelFolder.read(directory)
        loaded = load_model(
            folder, SessionOptions(), num_slots=num_slots, max_context_length=None, prefill_chunk=num_slots
        )
        self._tokenizer = Tokenizer.load(directory)
        self.num_tokens = self._tokenizer.vocabulary_size
        self.eos_token_ids = folder.eos_token_ids
        self.compiler = GrammarCompiler(
            self._tokenizer.to_json(),
            vocabulary_size=loaded.causal_lm.vocabulary_size,
            eos_token_ids=folder.eos_token_ids,
        )
        self.engine = Engine(loaded.causal_lm, num_sampleable=self.num_tokens, num_mask_threads=usable_processors())

    def text(self, token_ids: Sequence[int]) -> str:
        """The text of these tokens. Keeps control tokens, so that a misplaced one is visible."""
        detokenizer = Detokenizer(self._tokenizer, at_text_start=False, visible=self._tokenizer.special_ids)
        return "".join(map(detokenizer.add, token_ids)) + detokenizer.finish()

    def close(self) -> None:
        """Stops the threads of the engine and the compiler."""
        self.engine.close()
        self.compiler.close()


def _write(directory: Path, vocabulary: Vocabulary) -> None:
    config = replace(_SHAPE, vocab_size=vocabulary.size)
    graph = build_decoder(config, random_weights(config, seed=0))
    write_decoder(directory, config, graph, tokens=SpecialTokens(eos=tuple(sorted(vocabulary.eos_token_ids))))
    (directory / "tokenizer.json").write_text(vocabulary.tokenizer_json, encoding="utf-8")
