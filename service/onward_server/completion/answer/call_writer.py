"""Writes tool calls in a tool format, for chat templates that do not render the calls of a conversation."""

import json
import re
from collections.abc import Sequence
from typing import assert_never

from onward_server.grammar.tool_calls import BareNotation, CallFrame, ElementNotation, KeywordNotation
from onward_server.json_value import Json, JsonObject

_BARE_NAME = re.compile(r"[\w.$\-]+")


def written_calls(frame: CallFrame, calls: Sequence[tuple[str, JsonObject]]) -> str:
    """Returns the text of calls, given as names and arguments. If the format has call ids, they count up from 0."""
    texts = [
        f"{frame.begin}{name}{frame.id_begin and f'{frame.id_begin}{index:09}'}{frame.arguments_begin}"
        f"{_arguments(frame.notation, arguments)}{frame.end}"
        for index, (name, arguments) in enumerate(calls)
    ]
    return f"{frame.section_begin}{(frame.separator or '').join(texts)}{frame.section_end}"


def _arguments(notation: ElementNotation | BareNotation | KeywordNotation | None, arguments: JsonObject) -> str:
    match notation:
        case None:
            return _json(arguments)
        case ElementNotation():
            return "".join(_element(notation, name, value) for name, value in arguments.items())
        case BareNotation(quote=quote):
            return _bare(arguments, quote)[1:-1]
        case KeywordNotation():
            return ", ".join(f"{name}={_python(value)}" for name, value in arguments.items())
        case _:
            assert_never(notation)


def _element(notation: ElementNotation, name: str, value: Json) -> str:
    written = f"{notation.string_begin}{value}" if isinstance(value, str) else f"{notation.json_begin}{_json(value)}"
    return f"{notation.begin}{name}{notation.name_end}{written}{notation.end}"


def _bare(value: Json, quote: str) -> str:
    match value:
        case str():
            return f"{quote}{value}{quote}"
        case list():
            return f"[{','.join(_bare(item, quote) for item in value)}]"
        case dict():
            members = (
                f"{name if _BARE_NAME.fullmatch(name) else f'{quote}{name}{quote}'}:{_bare(item, quote)}"
                for name, item in value.items()
            )
            return f"{{{','.join(members)}}}"
        case _:
            return _json(value)


def _python(value: Json) -> str:
    """A Python literal, as models see in training. Constrained output has JSON there, which parsers accept, too."""
    match value:
        case None | bool():
            return str(value)
        case list():
            return f"[{', '.join(map(_python, value))}]"
        case dict():
            return f"{{{', '.join(f'{_json(name)}: {_python(item)}' for name, item in value.items())}}}"
        case _:
            return _json(value)


def _json(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False)
