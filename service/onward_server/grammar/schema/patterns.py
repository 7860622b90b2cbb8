r"""Rewrites regular expressions of JSON Schemas (ECMA-262) in the syntax of llguidance.

Dialects disagree on which non-ASCII characters `\d`, `\w` and `\s` match, so the result matches only what every
dialect matches. Classes exclude NUL, because llguidance's JSON quoting mishandles classes with all control characters.
"""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

_TOKEN = re.compile(
    r"""
    (?P<escape> \\ (?: x[0-9a-fA-F]{2} | u[0-9a-fA-F]{4} | [pP]\{[A-Za-z_=]+\} | [dDwWsStnrf] | [!-/:-@\[-`{-~] ))
  | (?P<group> \( (?: \?: | \?<[A-Za-z_][A-Za-z0-9_]*> )? (?!\?) )
  | (?P<quantifier> (?: [*+?] | \{[0-9]+ (?: ,[0-9]* )? \} ) \?? )
  | (?P<class> \[ \^? )
  | (?P<operator> [|)^$.] )
  | (?P<literal> [^\\({\[] )
    """,
    re.VERBOSE,
)
_CLASS_ITEM = re.compile(
    r"""
    (?P<escape> \\ (?: x[0-9a-fA-F]{2} | u[0-9a-fA-F]{4} | [pP]\{[A-Za-z_=]+\} | [dDwWsStnrf] | [!-/:-@\[-`{-~] ))
  | (?P<literal> [^\\\]] )
    """,
    re.VERBOSE,
)
# A token of a rewritten pattern: an escape or one character.
_STRUCTURE = re.compile(r"\\.|.", re.DOTALL)
_NESTING = {"(": 1, "[": 1, ")": -1, "]": -1}
# The members of each class in every dialect, and in at least one dialect.
_ALWAYS = {"d": "0-9", "w": "0-9A-Za-z_", "s": r"\t\n\r\f\p{Z}"}
_PERHAPS = {"d": r"\p{Nd}", "w": r"0-9A-Za-z_\p{L}\p{N}\p{M}\p{Pc}", "s": r"\t-\r\x1c-\x1f\x85\x{feff}\p{Z}"}
_CONTROL_ESCAPES = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}
_QUOTABLE = frozenset("\t\n\r\f\b")


class PatternRejected(Exception):
    """A pattern that cannot be enforced."""

    def __init__(self, position: int, description: str) -> None:
        """`position`: the offset of the error in characters."""
        self.position = position
        self.description = description
        super().__init__(f"at character {position}: {description}")


@lru_cache(maxsize=1024)
def rewritten(pattern: str) -> str:
    """The pattern in the syntax of llguidance.

    Raises:
        PatternRejected: It uses a construct that cannot be enforced, or that dialects read differently.
    """
    return "".join(_pieces(pattern))


def length_pattern(minimum: int, maximum: int | None) -> str:
    """A pattern for strings with a length in this range."""
    return f"^(?s:.{{{minimum},{'' if maximum is None else maximum}}})$"


def other_than(texts: Sequence[str]) -> str:
    """A pattern for every string except these."""
    return f"^{_other_than([*dict.fromkeys(texts)])}$"


def _other_than(texts: Sequence[str]) -> str:
    rests: dict[str, list[str]] = {}
    for text in texts:
        if text:
            rests.setdefault(text[0], []).append(text[1:])
    first = "".join(f"\\x{{{ord(character):x}}}" for character in rests)
    choices = [rf"[[^{first}]--\x00](?s:.*)" if rests else "(?s:.+)", *([] if "" in texts else [""])]
    choices += [f"\\x{{{ord(character):x}}}{_other_than(rest)}" for character, rest in rests.items()]
    return f"(?:{'|'.join(choices)})"


def whole(pattern: str) -> str:
    """A pattern that matches a text as a whole if a rewritten pattern matches somewhere in it; escapes slashes."""
    alternatives = [""]
    depth = 0
    for piece in _STRUCTURE.findall(pattern):
        depth += _NESTING.get(piece, 0)
        if piece == "|" and not depth:
            alternatives.append("")
        else:
            alternatives[-1] += r"\x{2f}" if piece == "/" else piece
    return "|".join(map(_padded, alternatives))


def _padded(alternative: str) -> str:
    before = "" if alternative.startswith("^") else "(?s:.*)"
    behind = "" if alternative.endswith("$") else "(?s:.*)"
    return f"{before}{alternative.removeprefix('^').removesuffix('$')}{behind}"


def _pieces(pattern: str) -> Iterator[str]:
    position = 0
    follows_quantifier = False
    open_groups: list[int] = []
    while position < len(pattern):
        match = _TOKEN.match(pattern, position)
        if match is None:
            raise PatternRejected(position, _reason(pattern[position:]))
        if match.lastgroup == "quantifier" and follows_quantifier:
            raise PatternRejected(position, "a quantifier follows another")
        follows_quantifier = match.lastgroup == "quantifier"
        if match.lastgroup == "group":
            open_groups.append(position)
        elif match[0] == ")":
            if not open_groups:
                raise PatternRejected(position, "a closing parenthesis has no opening one")
            open_groups.pop()
        if match.lastgroup == "class":
            piece, position = _class(pattern, match)
            yield piece
            continue
        yield _piece(match)
        position = match.end()
    if open_groups:
        raise PatternRejected(open_groups[-1], "a group is not closed")


def _piece(match: re.Match[str]) -> str:
    text = match[0]
    match match.lastgroup:
        case "escape" if text[1] in "dDwWsS":
            return f"[{_set(text[1], is_negated=False)}]"
        case "escape" if text[1] in "pP":
            return rf"[[{text}]--\x00]"
        case "escape" | "literal":
            return _literal(_character(match), match.start())
        case "operator" if text == ".":
            return r"[^\n\r\x{2028}\x{2029}]"
        case _:
            return text


def _class(pattern: str, opening: re.Match[str]) -> tuple[str, int]:
    """A rewritten character class in brackets, and the position after it."""
    is_negated = opening[0].endswith("^")
    position = opening.end()
    items: list[str] = []
    may_begin_range = False
    while not pattern.startswith("]", position):
        match = _CLASS_ITEM.match(pattern, position)
        if match is None:
            raise PatternRejected(
                position, _reason(pattern[position:]) if position < len(pattern) else "a character class is not closed"
            )
        text = match[0]
        is_range = text == "-" and may_begin_range and not pattern.startswith("]", match.end())
        if is_range and _is_character(pattern, match.end()):
            items.append("-")
            may_begin_range = False
        else:
            items.append(_class_item(match, is_negated=is_negated))
            may_begin_range = items[-1].startswith(r"\x{") and items[-2:-1] != ["-"]
        position = match.end()
    if not items:
        raise PatternRejected(opening.start(), "a character class is empty or begins with an unescaped bracket")
    return rf"[[{opening[0][1:]}{''.join(items)}]--\x00]", position + 1


def _is_character(pattern: str, position: int) -> bool:
    match = _CLASS_ITEM.match(pattern, position)
    return match is not None and not (match[0][0] == "\\" and match[0][1] in "dDwWsSpP")


def _class_item(match: re.Match[str], *, is_negated: bool) -> str:
    text = match[0]
    if text[0] == "\\" and text[1] in "dDwWsS":
        return _set(text[1], is_negated=is_negated)
    if text[0] == "\\" and text[1] in "pP":
        return text
    return f"\\x{{{ord(_character(match)):x}}}"


def _set(letter: str, *, is_negated: bool) -> str:
    r"""The members of a class for an escape such as `\w`; in a negated class, the widest reading of any dialect."""
    wide = letter.isupper() != is_negated
    members = (_PERHAPS if wide else _ALWAYS)[letter.lower()]
    return f"[^{members}]" if letter.isupper() else members


def _character(match: re.Match[str]) -> str:
    """The character that a literal or an escape stands for."""
    text = match[0]
    if text[0] != "\\":
        return text
    if text[1] in "xu":
        code = int(text.lstrip("\\xu"), base=16)
        if 0xD800 <= code < 0xE000:
            raise PatternRejected(match.start(), "half of a surrogate pair is not a character")
        return chr(code)
    return _CONTROL_ESCAPES.get(text[1], text[1])


def _literal(character: str, position: int) -> str:
    if (character < " " or character == "\x7f") and character not in _QUOTABLE:
        raise PatternRejected(position, f"the control character {ord(character):#04x} cannot be written")
    if character.isalnum():
        return character
    return f"\\x{{{ord(character):x}}}"


def _reason(rest: str) -> str:
    """Why the rest of a pattern does not start with a supported token."""
    if rest.startswith(("(?=", "(?!", "(?<")):
        return "lookahead and lookbehind cannot be enforced"
    if rest.startswith("(?"):
        return "flags are not supported"
    if rest.startswith("{"):
        return "a brace that is not a quantifier must be escaped"
    if rest.startswith("\\") and rest[1:2].isdigit():
        return "backreferences cannot be enforced"
    if rest.startswith(("\\b", "\\B")):
        return "word boundaries cannot be enforced"
    return f"the escape {rest[:2]!r} is not supported"
