r"""The regular expressions by which tokenizers split a text, in the syntax of Oniguruma.

Most are alternatives in this order: contractions, words, numbers, symbols, line breaks and other white space.
"""

_CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_WORD = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_SYMBOLS = r" ?[^\s\p{L}\p{N}]+[\r\n]*"
_SYMBOLS_WITH_SLASHES = r" ?[^\s\p{L}\p{N}]+[\r\n/]*"
_LINE_BREAKS = r"\s*[\r\n]+"
_WHITE_SPACE = r"\s+(?!\S)|\s+"

DIGIT = r"\p{N}"
THREE_DIGITS = r"\p{N}{1,3}"
DIGITS = r"\p{N}+"
DECIMAL_TRIPLE = "[0-9][0-9][0-9]"
BEFORE_DIGIT_TRIPLES = r"(?=(\d{3})+(?!\d))"
"""Matches between digits, to group them in threes from the right."""
LINE_BREAK = "[\r\n]"
TRAILING_SPACE = r"\s+$"


def _alternatives(*parts: str) -> str:
    return "|".join(parts)


def _characters(ranges: str) -> str:
    """The inside of a character class, from code points and ranges of them in hexadecimal."""
    return "".join(map(_range, ranges.split()))


def _range(code_points: str) -> str:
    return "-".join(chr(int(code_point, 16)) for code_point in code_points.split("-"))


def _run_of(ranges: str) -> str:
    return f"[{_characters(ranges)}]+"


_IDEOGRAPHS_AND_KANA = "4E00-9FA5 3040-309F 30A0-30FF"


CL100K = _alternatives(_CONTRACTIONS, _WORD, THREE_DIGITS, _SYMBOLS, _LINE_BREAKS, _WHITE_SPACE)
"""GPT-4 and Llama 3."""
QWEN2 = _alternatives(_CONTRACTIONS, _WORD, DIGIT, _SYMBOLS, _LINE_BREAKS, _WHITE_SPACE)
MINICPM5 = _alternatives(_CONTRACTIONS, _WORD, DIGITS, _SYMBOLS, _LINE_BREAKS, _WHITE_SPACE)
QWEN35 = _alternatives(
    _CONTRACTIONS,
    r"[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+",
    DIGIT,
    r" ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*",
    _LINE_BREAKS,
    _WHITE_SPACE,
)
SEED_CODER = _alternatives(_CONTRACTIONS, _WORD, DIGIT, r" ?[^\s\p{L}\p{N}\r\n]+", _LINE_BREAKS, _WHITE_SPACE)
BAILING = _alternatives(
    r"'(?i:[sdmt]|ll|ve|re)",
    r"[^\r\n\p{L}\p{N}]?+\p{L}+",
    DIGIT,
    r" ?[^\s\p{L}\p{N}]++[\r\n]*",
    r"\s*[\r\n]",
    _WHITE_SPACE,
)
EXAONE_MOE = _alternatives(
    _CONTRACTIONS,
    r"[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+",
    DIGIT,
    r" ?[^\s\p{L}\p{N}]+[\r\n/]?",
    r"\s*[\r\n]",
    _WHITE_SPACE,
)
JAIS2 = _alternatives(
    _CONTRACTIONS,
    _WORD,
    THREE_DIGITS,
    _SYMBOLS,
    _LINE_BREAKS,
    *(rf"\s{{{2**power}}}(?!\S)" for power in range(9, 1, -1)),
    r"\s{1,2}(?!\S)",
    r"\s{1}",
)

_UPPER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
_LOWER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_BEFORE_WORD = r"[^\r\n\p{L}\p{N}]?"
_CASED_WORDS = (f"{_BEFORE_WORD}{_UPPER}*{_LOWER}+", f"{_BEFORE_WORD}{_UPPER}+{_LOWER}*")
_CASED_WORDS_WITH_CONTRACTIONS = tuple(f"{word}{_CONTRACTIONS}?" for word in _CASED_WORDS)

TEKKEN = _alternatives(*_CASED_WORDS, DIGIT, _SYMBOLS_WITH_SLASHES, _LINE_BREAKS, _WHITE_SPACE)
O200K = _alternatives(*_CASED_WORDS_WITH_CONTRACTIONS, THREE_DIGITS, _SYMBOLS_WITH_SLASHES, _LINE_BREAKS, _WHITE_SPACE)
"""GPT-4o and Llama 4."""
YOUTU_SCRIPTS = _alternatives(
    _run_of("AC00-D7A3 3131-318E"),
    _run_of("FF01 2026 201C-201D 2018-2019 2014 FF1A-FF1B FF0C 3001-303F FE30-FE4F"),
    _run_of("3105-312F"),
    _run_of(_IDEOGRAPHS_AND_KANA),
)
YOUTU = _alternatives(*_CASED_WORDS_WITH_CONTRACTIONS, DIGIT, _SYMBOLS_WITH_SLASHES, _LINE_BREAKS, _WHITE_SPACE)
DIGIT_GROUPS_FROM_THE_RIGHT = r"\d{1,3}(?=(?:\d{3})*\b)"

BLOOM = r" ?[^(\s|[.,!?" + _characters("2026 3002 FF0C 3001 0964 06D4 060C") + "])]+"

DEEPSEEK_LETTERS = r"\s?" + _run_of(
    "0041-005A 0061-007A 00B5 00C0-00D6 00D8-00F6 00F8-01BA 01BC-01BF 01C4-0293 0295-02AF 0370-0373 0376 0377 "
    "037B-037D 037F 0386 0388-038A 038C 038E-03A1 03A3-03F5 03F7-0481 048A-052F 0531-0556 10A0-10C5 13A0-13F5 "
    "13F8-13FD 1C90-1CBA 1CBD-1CBF 1D00-1D2B 1D6B-1D77 1D79-1D9A 1E00-1F15 1F18-1F1D 1F20-1F45 1F48-1F4D 1F50-1F57 "
    "1F59 1F5B 1F5D 1F5F-1F7D 1F80-1FB4 1FB6-1FBC 1FBE 1FC2-1FC4 1FC6-1FCC 1FD0-1FD3 1FD6-1FDB 1FE0-1FEC 1FF2-1FF4 "
    "1FF6-1FFC 2102 2107 210A-2113 2115 2119-211D 2124 2126 2128 212A-212D 212F-2134 2139 213C-213F 2145-2149 214E "
    "2183 2184 2C00-2C7B 2C7E-2CE4 2CEB-2CEE 2CF2 2CF3 A640-A66D A680-A69B A722-A76F A771-A787 A78B-A78E AB70-ABBF "
    "FB00-FB06 FB13-FB17 FF21-FF3A FF41-FF5A 10400-1044F 104B0-104D3 104D8-104FB 10C80-10CB2 10CC0-10CF2 118A0-118DF "
    "1E900-1E943"
)
"""The letters of scripts that have two cases."""
DEEPSEEK_PUNCTUATION = r"\s?" + _run_of("0021-002F 003A-007E FF01-FF0F FF1A-FF5E 2018-201F 3000-3002")
DEEPSEEK_CODER_LETTERS = r"\s?\p{L}+"
DEEPSEEK_CODER_PUNCTUATION = r"\s?\p{P}+"
DEEPSEEK_EAST_ASIAN = _run_of("4E00-9FA5 0800-4E00 AC00-D7FF")
DEEPSEEK3_EAST_ASIAN = _run_of(_IDEOGRAPHS_AND_KANA)
DEEPSEEK3 = _alternatives(
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+""",
    r"[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+",
    r" ?[\p{P}\p{S}]+[\r\n]*",
    _LINE_BREAKS,
    _WHITE_SPACE,
)
