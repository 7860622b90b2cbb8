"""A GGUF file as the source of an export."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from onward_server.errors import ExportError
from onward_server.export.architectures.reading import read_architecture
from onward_server.export.decoder_config import DecoderConfig
from onward_server.export.gguf_model.gguf_file import GgufFile, open_gguf
from onward_server.export.gguf_model.metadata import Metadata
from onward_server.export.gguf_model.model_config import ModelDescription, describe_model
from onward_server.export.gguf_model.rope_config import with_factors
from onward_server.export.gguf_model.tensor_names import TensorNames
from onward_server.export.tensors import Tensor
from onward_server.export.tokenizers.conversion import ConvertedTokenizer, convert_tokenizer

_SAMPLING = {"temp": "temperature", "top_k": "top_k", "top_p": "top_p", "min_p": "min_p"}
"""The sampling parameters that generation_config.json has, by their names in the metadata."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GgufSource:
    """A GGUF file that was opened and checked."""

    config: DecoderConfig
    tensors: Mapping[str, Tensor]
    """The weights by canonical name."""
    files: Mapping[str, str]
    """The texts of the files that describe the model, by path."""

    def write_descriptions(self, folder: Path) -> None:
        """See `Source.write_descriptions`."""
        for name, text in self.files.items():
            path = folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")


def open_gguf_source(path: Path) -> GgufSource:
    """Opens a GGUF file, or the first part of a split one, and checks everything but the weights themselves.

    Takes a few seconds for large vocabularies.

    Raises:
        ExportError: The file cannot be read or contradicts itself, or its model, tokenizer or a type of its tensors is
            not supported.
    """
    file = open_gguf(path)
    try:
        return source_of(file)
    except ExportError as error:
        text = str(error)
        raise ExportError(text if text.startswith(str(path)) else f"{path}: {text}") from error


def source_of(file: GgufFile) -> GgufSource:
    """Checks a file that was opened: see `open_gguf_source`."""
    model = describe_model(file)
    names = TensorNames(file=file, gated=model.gated)
    decoder = replace(_decoder(model), biases=names.biases())
    decoder = with_factors(decoder, file)
    tensors = names.weights(decoder, interleaved_rope=model.interleaved_rope)
    tokenizer = convert_tokenizer(file.metadata.values)
    if tokenizer.num_tokens > decoder.vocab_size:
        rows = f"token_embd.weight has {decoder.vocab_size:,} rows"
        raise ExportError(f"tokenizer.ggml.tokens: has {tokenizer.num_tokens:,} tokens; {rows}")
    config = {**model.config, **_token_ids(tokenizer)}
    generation = {**_token_ids(tokenizer), **_sampling(file.metadata)}
    files = {"config.json": config, "generation_config.json": generation}
    texts = {name: json.dumps(values, indent=2) + "\n" for name, values in files.items()}
    return GgufSource(config=decoder, tensors=tensors, files={**tokenizer.files, **texts})


def _decoder(model: ModelDescription) -> DecoderConfig:
    try:
        return read_architecture(model.config).decoder
    except ExportError as error:
        raise ExportError(f"its metadata, as config.json, cannot be exported: {error}") from error


def _token_ids(tokenizer: ConvertedTokenizer) -> Mapping[str, object]:
    """The ids that config.json and generation_config.json have. Several ends are a list."""
    ends = tokenizer.eos_token_ids
    ids: dict[str, object] = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": ends[0] if len(ends) == 1 else list(ends) or None,
        "pad_token_id": tokenizer.pad_token_id,
    }
    return {name: value for name, value in ids.items() if value is not None}


def _sampling(metadata: Metadata) -> Mapping[str, object]:
    """The recommended sampling parameters, if the file has any."""
    found = {name: metadata.optional_number(f"general.sampling.{key}") for key, name in _SAMPLING.items()}
    values = {name: int(value) if name == "top_k" else value for name, value in found.items() if value is not None}
    return {"do_sample": True, **values} if values else {}
