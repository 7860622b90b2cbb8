"""A long output of an accepted schema never fails, with random tokens or with the longest allowed tokens."""

import json
from functools import cache
from typing import Any
from zlib import crc32

import numpy as np
import numpy.typing as npt
import pytest

from onward_server.domain import JsonSchemaFormat
from onward_server.errors import InvalidRequest
from onward_server.grammar.compiler import Grammar, GrammarCompiler
from onward_server.grammar.matcher import allocate_masks
from testing.vocabularies import large_vocabulary

_NUM_TOKENS = 200
_HOST = r"^[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?(\.[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*$"
RUN: dict[str, dict[str, Any]] = {
    "an address": {"type": "string", "pattern": r"^\S+@\S+\.\S+$", "maxLength": 320},
    "a long address": {"type": "string", "pattern": r"^\S+@\S+\.\S+$", "maxLength": 5000},
    "a host with a pattern": {"type": "string", "format": "hostname", "pattern": r"^[a-z0-9.-]+\.example\.com$"},
    "two patterns of hosts": {"type": "string", "pattern": _HOST, "allOf": [{"pattern": r"\.com$"}], "maxLength": 253},
    "1 to 50 words": {"type": "string", "pattern": r"^(\S+\s+){1,50}\S+$"},
    "1 to 200 words": {"type": "string", "pattern": r"^(\S+\s+){1,200}\S+$"},
    "20 words of 20 letters": {"type": "string", "pattern": r"^(\w{1,20} ){1,20}\w{1,20}$", "maxLength": 500},
    "10,000 letters": {"type": "string", "pattern": "^[A-Za-z ,.'-]*$", "maxLength": 10_000},
    "10,000 characters": {"type": "string", "minLength": 10, "maxLength": 10_000},
    "a password": {
        "type": "string",
        "allOf": [{"pattern": "[A-Z]"}, {"pattern": "[a-z]"}, {"pattern": "[0-9]"}, {"pattern": "[^A-Za-z0-9]"}],
        "minLength": 8,
        "maxLength": 128,
    },
    "three words apart": {"type": "string", "pattern": "^.*foo.*bar.*baz.*$", "maxLength": 2000},
    "a list of addresses": {"type": "array", "items": {"type": "string", "format": "email"}, "minItems": 50},
    "a list of links": {
        "type": "array",
        "items": {"type": "string", "format": "uri", "maxLength": 500},
        "minItems": 50,
    },
    "far behind a vowel": {"type": "string", "pattern": "[aeiou].{12}$"},
    "2,000 properties": {
        "type": "object",
        "properties": {f"property_{i}": {"type": "string"} for i in range(2000)},
        "required": ["property_1999"],
    },
    "a tree": {
        "type": "object",
        "properties": {"left": {"$ref": "#"}, "right": {"anyOf": [{"$ref": "#"}, {"type": "string"}]}},
        "required": ["left"],
    },
}
TOO_COSTLY: dict[str, dict[str, Any]] = {
    "500 words": {"type": "string", "pattern": r"^(\S+\s+){0,499}\S+$", "maxLength": 5000},
    "repeats of repeats": {"type": "string", "pattern": "^(a{1,1000}){1,1000}$"},
}


@pytest.fixture(scope="module")
def compiler() -> GrammarCompiler:
    vocabulary = large_vocabulary()
    return GrammarCompiler(
        vocabulary.tokenizer_json, vocabulary_size=vocabulary.size, eos_token_ids=vocabulary.eos_token_ids
    )


@cache
def token_lengths(compiler: GrammarCompiler, size: int) -> npt.NDArray[np.intp]:
    return np.array([len(compiler._tokenizer.decode_bytes([token_id])) for token_id in range(size)])


def compiled(compiler: GrammarCompiler, schema: dict[str, Any]) -> Grammar:
    return compiler.compile(JsonSchemaFormat(schema=json.dumps(schema))).result()


@pytest.mark.parametrize("takes_longest", [False, True], ids=["random", "longest"])
@pytest.mark.parametrize("name", RUN)
def test_a_long_output_of_an_accepted_schema_does_not_fail(
    compiler: GrammarCompiler, name: str, *, takes_longest: bool
) -> None:
    seeds = range(1 if takes_longest else 10)
    lengths = (num_sampled(compiler, name, None if takes_longest else seed) for seed in seeds)
    assert any(length > 3 for length in lengths), "every output ended at once"


def num_sampled(compiler: GrammarCompiler, name: str, seed: int | None) -> int:
    """Samples one output, of the longest tokens without a seed, and returns its length in tokens."""
    vocabulary = large_vocabulary()
    matcher = compiled(compiler, RUN[name]).matcher()
    masks, num_tokens = allocate_masks(1, vocabulary.size), 0
    random = None if seed is None else np.random.default_rng([crc32(name.encode()), seed])
    lengths = token_lengths(compiler, vocabulary.size)
    while num_tokens < _NUM_TOKENS and not matcher.is_complete:
        matcher.fill(masks[0])
        allowed = np.flatnonzero(np.unpackbits(masks[0].view(np.uint8), bitorder="little"))
        allowed = allowed[~np.isin(allowed, list(vocabulary.eos_token_ids))]
        if not len(allowed):
            break
        matcher.accept(int(random.choice(allowed) if random else allowed[lengths[allowed].argmax()]))
        num_tokens += 1
    assert num_tokens == _NUM_TOKENS or matcher.may_end
    return num_tokens


@pytest.mark.parametrize("name", TOO_COSTLY)
def test_a_schema_with_too_costly_outputs_is_rejected_before_the_first_token(
    compiler: GrammarCompiler, name: str
) -> None:
    with pytest.raises(InvalidRequest, match=r"^response_format.json_schema.schema: .*it is too (costly|complex)"):
        compiled(compiler, TOO_COSTLY[name])
