"""How texts are split before byte-pair merges, by the name that a GGUF file gives (`tokenizer.ggml.pre`).

The steps are those of the tokenizer.json for which the name was introduced.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from onward_server.errors import ExportError
from onward_server.export.tokenizers import patterns
from onward_server.json_value import Json, JsonObject


@dataclass(frozen=True, slots=True, kw_only=True)
class PreTokenizer:
    """The parts of a byte-level tokenizer that a GGUF file gives by one name."""

    steps: tuple[JsonObject, ...]
    is_composed: bool = False
    """Whether a text is first put into Unicode's composed form (NFC)."""
    ignores_merges: bool = False
    """Whether a piece that is a token as a whole becomes that token without merges."""
    adds_bos: bool = False
    """Whether a text starts with the token `bos`, where the file does not say."""

    @property
    def normalizer(self) -> Json:
        """The section `normalizer` of tokenizer.json."""
        return {"type": "NFC"} if self.is_composed else None

    @property
    def state(self) -> Json:
        """The section `pre_tokenizer` of tokenizer.json."""
        steps: list[Json] = [*self.steps]
        return steps[0] if len(steps) == 1 else {"type": "Sequence", "pretokenizers": steps}


def pre_tokenizer_named(name: str) -> PreTokenizer:
    """Looks a name up.

    Raises:
        ExportError: The name is not supported.
    """
    if name not in _BY_NAME:
        raise ExportError(
            f"tokenizer.ggml.pre: {name!r} is not a supported pre-tokenizer; they are {', '.join(sorted(_BY_NAME))}"
        )
    return _BY_NAME[name]


def _byte_level(*, use_regex: bool) -> JsonObject:
    """Writes bytes as characters; `use_regex`: after a split by GPT-2's expression."""
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": use_regex}


def _digits(*, individual: bool) -> JsonObject:
    return {"type": "Digits", "individual_digits": individual}


def _split(*expressions: str) -> PreTokenizer:
    """Splits by one expression after the other, then writes bytes as characters."""
    steps = [_split_step(expression) for expression in expressions]
    return PreTokenizer(steps=(*steps, _byte_level(use_regex=False)))


def _split_step(expression: str) -> JsonObject:
    return {"type": "Split", "pattern": {"Regex": expression}, "behavior": "Isolated", "invert": False}


def _with_digits(pre_tokenizer: PreTokenizer) -> PreTokenizer:
    """Makes each digit a piece of its own, in a step before the bytes are written as characters."""
    *steps, last = pre_tokenizer.steps
    return replace(pre_tokenizer, steps=(*steps, _digits(individual=True), last))


_GPT2 = PreTokenizer(steps=(_byte_level(use_regex=True),))
_DIGITS_GPT2 = PreTokenizer(steps=(_digits(individual=True), _byte_level(use_regex=True)))
_CL100K = _split(patterns.CL100K)
_LLAMA3 = replace(_CL100K, ignores_merges=True, adds_bos=True)
_QWEN2 = replace(_split(patterns.QWEN2), is_composed=True)
_QWEN2_WITHOUT_NFC = _split(patterns.QWEN2)
_O200K = _split(patterns.O200K)
_BLOOM = _split(patterns.BLOOM)
_DEEPSEEK3 = _split(patterns.THREE_DIGITS, patterns.DEEPSEEK3_EAST_ASIAN, patterns.DEEPSEEK3)
_BAILING = _split(patterns.BAILING)
_GROUPED_DIGITS_O200K = _split(patterns.DIGIT_GROUPS_FROM_THE_RIGHT, patterns.O200K)

_BY_NAME: Mapping[str, PreTokenizer] = {
    "a.x-4.0": _GPT2,
    "bailingmoe": _BAILING,
    "bailingmoe2": _BAILING,
    "bloom": _BLOOM,
    "chatglm-bpe": _CL100K,
    "codeshell": _DIGITS_GPT2,
    "cohere2moe": _GROUPED_DIGITS_O200K,
    "command-r": replace(_DIGITS_GPT2, is_composed=True),
    "dbrx": _CL100K,
    "deepseek-coder": _with_digits(
        _split(
            patterns.LINE_BREAK,
            patterns.DEEPSEEK_CODER_LETTERS,
            patterns.DEEPSEEK_CODER_PUNCTUATION,
            patterns.DEEPSEEK_EAST_ASIAN,
        )
    ),
    "deepseek-llm": _with_digits(
        _split(
            patterns.LINE_BREAK,
            patterns.DEEPSEEK_LETTERS,
            patterns.DEEPSEEK_PUNCTUATION,
            patterns.TRAILING_SPACE,
            patterns.DEEPSEEK_EAST_ASIAN,
        )
    ),
    "deepseek-r1-qwen": _QWEN2,
    "deepseek-v3": _DEEPSEEK3,
    "default": _GPT2,
    "exaone": _DIGITS_GPT2,
    "exaone-moe": _split(patterns.EXAONE_MOE),
    "exaone4": _GPT2,
    "f2llmv2": _QWEN2,
    "falcon": PreTokenizer(
        steps=(
            {"type": "Punctuation", "behavior": "Contiguous"},
            _byte_level(use_regex=True),
            _digits(individual=False),
            _split_step(patterns.DECIMAL_TRIPLE),
        )
    ),
    "falcon-h1": _LLAMA3,
    "falcon3": _LLAMA3,
    "gigachat": _GPT2,
    "glm4": replace(_CL100K, ignores_merges=True),
    "glm5": replace(_CL100K, ignores_merges=True),
    "gpt-2": _GPT2,
    "gpt-4o": _O200K,
    "gpt3-finnish": _BLOOM,
    "granite-docling": _GPT2,
    "grok-2": _QWEN2_WITHOUT_NFC,
    "hunyuan": _QWEN2_WITHOUT_NFC,
    "hunyuan-dense": _DEEPSEEK3,
    "hy_v4": _DEEPSEEK3,
    "jais": _GPT2,
    "jais-2": _split(patterns.JAIS2),
    "joyai-llm": _DEEPSEEK3,
    "kanana2": _O200K,
    "kormo": _QWEN2,
    "lfm2": _LLAMA3,
    "llada-moe": _BAILING,
    "llama-bpe": _LLAMA3,
    "llama-v3": _LLAMA3,
    "llama3": _LLAMA3,
    "llama4": _O200K,
    "megrez": _QWEN2,
    "mellum": _GPT2,
    "mellum2": _DIGITS_GPT2,
    "midm-2.0": _LLAMA3,
    "minerva-7b": _DIGITS_GPT2,
    "minicpm5": replace(_split(patterns.THREE_DIGITS, patterns.MINICPM5), ignores_merges=True),
    "minimax-m2": _O200K,
    "mpt": replace(_GPT2, is_composed=True),
    "olmo": replace(_GPT2, is_composed=True),
    "phi-2": _GPT2,
    "pixtral": _LLAMA3,
    "poro-chat": _BLOOM,
    "qwen2": _QWEN2,
    "qwen35": replace(_split(patterns.QWEN35), is_composed=True),
    "refact": _DIGITS_GPT2,
    "seed-coder": _split(patterns.SEED_CODER),
    "smaug-bpe": replace(_LLAMA3, adds_bos=False),
    "smollm": _DIGITS_GPT2,
    "solar-open": _QWEN2_WITHOUT_NFC,
    "stablelm2": _QWEN2,
    "starcoder": _DIGITS_GPT2,
    "superbpe": _split(patterns.DIGITS, patterns.BEFORE_DIGIT_TRIPLES),
    "talkie": _O200K,
    "tekken": replace(_split(patterns.TEKKEN), ignores_merges=True, adds_bos=True),
    "tiny_aya": _GROUPED_DIGITS_O200K,
    "trillion": _GPT2,
    "viking": _with_digits(_BLOOM),
    "youtu": replace(_split(patterns.YOUTU_SCRIPTS, patterns.YOUTU), ignores_merges=True),
}
