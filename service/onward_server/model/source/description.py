"""Reads what the JSON files beside a graph say about it: sizes, context length, ends of sequence, sampling defaults."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from onward_server.errors import ModelFolderError
from onward_server.model.source.access import is_present
from onward_server.model.source.json_file import JsonObject, read_json_object
from onward_server.model.source.other_formats import absence_of_configuration
from onward_server.sampling import PARAMETERS, SamplingOverrides, SamplingValue

_MAX_INT32 = 2**31 - 1
_MAX_TOKENIZER_LENGTH = 1 << 24
"""tokenizer_config.json has a larger `model_max_length`, such as 1e30, if the length is unknown."""
_TEXT_CONFIGS = ("text_config", "llm_config", "language_config")
"""Where the config.json of a multimodal model describes its text part."""
_OTHER_NAMES: Mapping[str, Sequence[str]] = {
    "num_attention_heads": ("n_head", "n_heads", "num_heads", "attention_heads", "decoder_attention_heads"),
    "num_key_value_heads": ("num_kv_heads", "n_kv_heads", "kv_n_heads", "multi_query_group_num", "num_query_groups"),
    "head_dim": ("head_size", "kv_channels", "d_head", "attention_head_size"),
    "hidden_size": ("n_embd", "n_embed", "d_model", "model_dim"),
    "vocab_size": ("padded_vocab_size", "n_vocab"),
}
"""Other names of sizes in the config.json of some model families."""
_CONTEXT_LENGTHS = (
    "context_length",
    "max_position_embeddings",
    "n_positions",
    "n_ctx",
    "max_seq_len",
    "max_seq_length",
    "max_sequence_length",
    "max_context_length",
    "seq_length",
    "seq_len",
    "model_max_length",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """A model according to config.json, genai_config.json, generation_config.json and tokenizer_config.json."""

    config: JsonObject
    """The text model's values in config.json, and those in genai_config.json that config.json lacks."""
    context_length: int
    eos_token_ids: frozenset[int]
    default_sampling: SamplingOverrides

    @classmethod
    def read(cls, folder: Path) -> "Description":
        """Reads those of the files that exist.

        Raises:
            ModelFolderError: config.json and genai_config.json are both missing, a file is malformed, or no file gives
                the context length.
        """
        if not any(is_present(folder / name) for name in ("config.json", "genai_config.json")):
            raise ModelFolderError(absence_of_configuration(str(folder)))
        config = _text_part(read_json_object(folder / "config.json"))
        genai = read_json_object(folder / "genai_config.json")
        genai_model, genai_search = _object(genai.get("model")), _object(genai.get("search"))
        generation = read_json_object(folder / "generation_config.json")
        tokenizer = read_json_object(folder / "tokenizer_config.json")
        return cls(
            config=_with_common_names({**_object(genai_model.get("decoder")), **config}),
            context_length=_context_length(folder, genai_model, config, genai_search, tokenizer),
            eos_token_ids=_eos_token_ids(folder, (generation, config, genai_model), tokenizer),
            default_sampling=_default_sampling(folder, generation or genai_search),
        )


def read_eos_token_ids(folder: Path) -> frozenset[int]:
    """The tokens that end a sequence, according to files other than genai_config.json.

    Raises:
        ModelFolderError: A file is malformed.
    """
    generation, config, tokenizer = (
        read_json_object(folder / name) for name in ("generation_config.json", "config.json", "tokenizer_config.json")
    )
    return _eos_token_ids(folder, (generation, _text_part(config)), tokenizer)


def decoder_named_by(genai_config: Path) -> str | None:
    """The file name of the decoder in a genai_config.json; None: it has none.

    Raises:
        ModelFolderError: The file is malformed, or names several graphs that make up the decoder.
    """
    decoder = _object(_object(read_json_object(genai_config).get("model")).get("decoder"))
    if decoder.get("pipeline"):
        raise ModelFolderError(
            f"{genai_config} splits the decoder into a pipeline of graphs, as exports for NPUs do; serve an export "
            "with one graph"
        )
    filename = decoder.get("filename")
    return filename if isinstance(filename, str) else None


def _object(value: object) -> JsonObject:
    return cast(JsonObject, value) if isinstance(value, dict) else {}


def _text_part(config: JsonObject) -> JsonObject:
    """The values of config.json; those of its text part win over those at the top level."""
    part = next((part for name in _TEXT_CONFIGS if (part := _object(config.get(name)))), _object(None))
    return {**config, **part}


def _with_common_names(config: JsonObject) -> JsonObject:
    found = {
        name: next((config[other] for other in others if other in config), None)
        for name, others in _OTHER_NAMES.items()
    }
    return {**{name: value for name, value in found.items() if value is not None}, **config}


def _context_length(
    folder: Path, genai_model: JsonObject, config: JsonObject, genai_search: JsonObject, tokenizer: JsonObject
) -> int:
    for source in (genai_model, config):
        for key in _CONTEXT_LENGTHS:
            value = source.get(key)
            if isinstance(value, int) and not isinstance(value, bool) and value > 0:
                return _checked_length(folder, key, value)
    for value in (genai_search.get("max_length"), tokenizer.get("model_max_length")):
        if isinstance(value, int | float) and 0 < value <= _MAX_TOKENIZER_LENGTH:
            return int(value)
    raise ModelFolderError(
        f"{folder}: the context length is unknown; set max_position_embeddings in config.json, "
        "or context_length in genai_config.json"
    )


def _checked_length(folder: Path, key: str, value: int) -> int:
    """Returns the context length, which must have room for a prompt token and an output token, and fit in an int32."""
    if not 2 <= value <= _MAX_INT32:
        raise ModelFolderError(
            f"{folder}: {key} is {value}, outside [2, {_MAX_INT32}]; correct it in config.json or genai_config.json"
        )
    return value


def _eos_token_ids(folder: Path, sources: Sequence[JsonObject], tokenizer: JsonObject) -> frozenset[int]:
    token_ids = frozenset(token_id for source in sources for token_id in _token_ids(folder, source.get("eos_token_id")))
    return token_ids or frozenset(_end_of_tokenizer(tokenizer))


def _token_ids(folder: Path, value: object) -> Iterator[int]:
    values = cast(list[object], value) if isinstance(value, list) else [value]
    for token_id in values:
        if isinstance(token_id, int) and token_id >= 0:
            yield token_id
        elif token_id is not None:
            raise ModelFolderError(
                f"{folder}: eos_token_id {token_id!r} is not a token id; it must be an integer of 0 or more"
            )


def _end_of_tokenizer(tokenizer: JsonObject) -> Iterator[int]:
    """The id of the `eos_token` of tokenizer_config.json, which is a string or an object with one as `content`."""
    end = tokenizer.get("eos_token")
    text = _object(end).get("content", end)
    for token_id, token in _object(tokenizer.get("added_tokens_decoder")).items():
        if isinstance(text, str) and token_id.isdecimal() and _object(token).get("content") == text:
            yield int(token_id)


def _default_sampling(folder: Path, generation: JsonObject) -> SamplingOverrides:
    """Defaults of generation_config.json. `do_sample: false` means greedy.

    A value at the excluded end of a range, such as `top_p: 0`, means unset.
    """
    if generation.get("do_sample") is False:
        generation = {**generation, "temperature": 0}
    defaults: dict[str, SamplingValue] = {}
    for name, parameter in PARAMETERS.items():
        key, allowed = parameter.generation_config_key, parameter.range
        if key is None or allowed is None or (value := generation.get(key)) is None:
            continue
        high = min(allowed.high, _MAX_INT32)
        if not (isinstance(value, int | float) and allowed.low <= value <= high):
            raise ModelFolderError(
                f"{folder}: generation_config.json has {key} = {value!r}, outside [{allowed.low}, {high}]"
            )
        if value in allowed:
            defaults[name] = parameter.value_type(value)
    return defaults
