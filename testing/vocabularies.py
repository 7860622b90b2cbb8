"""Byte-level BPE tokenizers of two sizes, built from a fixed seed: 512 tokens, and 49,152 tokens full of traps."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from random import Random

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from onward_server.completion.answer.format_registry import REASONING_FORMATS, TOOL_FORMATS
from onward_server.completion.answer.output_format import ReasoningFormat, ToolFormat

_FORMATS: tuple[ToolFormat | ReasoningFormat, ...] = (*TOOL_FORMATS, *REASONING_FORMATS)
CONTROL_TOKENS = tuple(
    dict.fromkeys(
        ("<|return|>", "<|call|>", "<|stop|>", *(marker for format_ in _FORMATS for marker in format_.control_strings))
    )
)
"""The control tokens of the small vocabulary: two that end an output, one more, then those of every tool format."""
EOS_TOKEN_IDS = frozenset({0, 1})
"""Of the small vocabulary."""
_LARGE_SIZE = 49_152
_LARGE_CONTROL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_TEXT = [
    '{"name": "value", "items": [1, 2, 3], "is": true, "the": null}',
    "the quick brown fox, 12.5 naïve 日本語",
    '{"to":"anna@mail.com","tags":["a","b,c"],"copies":-0.25,"on":"2024-02-29","where":{"x":{}},"when":[],"no":false}',
    "[[1.5e10,-2],[]] (foo|foobar)*(x+y)+1 <a><b/></a> a=1&b=22;c=333 SELECT a FROM t WHERE b >= 10 /* note */",
    '"a \\"quoted\\" word", "two\\nlines", "\\u00e9", "C:\\\\dir"',
    "def add(x, y):\n    return x + y  # the sum\n\n<function=add>\n<parameter=x>\n5\n</parameter>\n</function>\n",
    "If the answer is not there, then the reader should return nothing and try another request after some seconds.",
    "Every number, name and string that stands between these marks belongs to one property of the object before it.",
    "Whoever writes without thinking writes about everything: weather, harbours, numbers, colours, cities and people.",
]
_SYLLABLES = "ka ro mi tel sun der pa qui lo ve ing er tion al ex pre com de un st ra no li ty".split()
_WORDS = (
    "id name type value status code date time user email address street city country phone url path key token event "
    "order item price amount currency total tax invoice customer account created updated deleted version enabled "
    "true false null none error message detail page limit offset cursor next previous count size width height unit"
).split()
_JSON_PIECES = (
    *('{"', '"}', '": "', '": {"', '": [', '", "', '"], "', '"}, {"', '"}]}', "[{", "}]", "}}", "]]", "{}", "[]", '""'),
    *('": ', '":', '",', '"]', "null,", "true, ", "false}", ': "', ", ", ",\n", '{\n  "', '\n}, "', '\\"', '\\n"'),
    *("\\u00", "\\\\", '\\\\"', "\\u0061", '\\/"', "\\t", '"\\', '\\", "', "</", "/>", "://", ".com", "@", "-0", "0.0"),
    *("1e", "e+", "E-", "00", "-1", "T00:00:00Z", "2024-02-29", "+00:00", "127.0.0.1", "::1", "P1D", "\r\n", "\x00"),
)
_CHARACTERS = "éüßñøłçÉΩжשاहไ日本語한👍🏽😀𝄞\u200d\ufeff\u2028"


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """A tokenizer and what a compiler needs to know of it."""

    tokenizer_json: str
    size: int
    """The width of the logits."""
    eos_token_ids: frozenset[int]


@cache
def small_vocabulary() -> Vocabulary:
    """512 tokens trained on a few lines; the first are `CONTROL_TOKENS`, and many span the ends of JSON strings."""
    tokenizer = _byte_level(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=512,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=list(CONTROL_TOKENS),
    )
    tokenizer.train_from_iterator(_TEXT, trainer)
    return Vocabulary(tokenizer.to_str(), 512, EOS_TOKEN_IDS)


@cache
def large_vocabulary() -> Vocabulary:
    """49,152 tokens, of which 3 are control tokens and 256 single bytes; takes about a second.

    The others are words, numbers, white space and characters of many scripts, whole or cut within their UTF-8 bytes,
    joined with each other and with pieces of JSON, so that a token may end one string and begin the next one. Each
    prefix of a token is a token too, by which the merges build it.
    """
    alphabet = byte_alphabet()
    tokens = dict.fromkeys([*_LARGE_CONTROL_TOKENS, *alphabet])
    merges: list[list[str]] = []
    for piece in _pieces(Random(0)):
        text = "".join(alphabet[byte] for byte in piece)
        for end in range(2, len(text) + 1):
            if text[:end] not in tokens and len(tokens) < _LARGE_SIZE:
                tokens[text[:end]] = None
                merges.append([text[: end - 1], text[end - 1]])
        if len(tokens) == _LARGE_SIZE:
            break
    tokenizer = _byte_level(models.BPE())
    document = json.loads(tokenizer.to_str())
    document["model"] |= {"vocab": {token: id_ for id_, token in enumerate(tokens)}, "merges": merges}
    document["added_tokens"] = [_special(id_, text) for id_, text in enumerate(_LARGE_CONTROL_TOKENS)]
    return Vocabulary(json.dumps(document), _LARGE_SIZE, frozenset({0, 2}))


def _byte_level(model: models.BPE) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def byte_alphabet() -> list[str]:
    """The character that stands for each byte in a byte-level vocabulary."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = iter(range(0x100, 0x200))
    return [chr(byte if byte in printable else next(others)) for byte in range(256)]


def _special(id_: int, text: str) -> dict[str, object]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": id_, "content": text, **flags, "special": True}


def _pieces(random: Random) -> Iterator[bytes]:
    """Byte strings without end; the plain ones come first, so that they merge first."""
    yield from (word.encode() for word in (*_WORDS, *_JSON_PIECES, *_CHARACTERS))
    yield from (b" " * 64, b"\n" * 16, b"\t" * 8, b"0" * 16, b"9" * 16, b"a" * 32, b"-" * 32, b'"' * 4, b"\\" * 8)
    yield from (str(number).encode() for number in range(1000))
    while True:
        joined = b"".join(_piece(random) for _ in range(random.randint(1, 3)))
        start = random.choice((0, 0, 0, 1, 2))
        yield joined[start : start + random.randint(2, 12)]


def _piece(random: Random) -> bytes:
    match random.randrange(8):
        case 0 | 1:
            return random.choice(_WORDS).encode()
        case 2 | 3:
            word = "".join(random.choice(_SYLLABLES) for _ in range(random.randint(1, 4)))
            return random.choice((word, f" {word}", word.title(), f"_{word}")).encode()
        case 4 | 5:
            return random.choice(_JSON_PIECES).encode()
        case 6:
            return str(random.randrange(10 ** random.randint(1, 9))).encode()
        case _:
            return "".join(random.choices(_CHARACTERS, k=2)).encode()
