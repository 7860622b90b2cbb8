"""The grammar of one tool's arguments, in the notation in which the model writes them."""

from typing import assert_never

from onward_server.grammar import lark
from onward_server.grammar.call_grammar import arguments_name
from onward_server.grammar.lark import ControlTokens
from onward_server.grammar.notation.bare import BareArguments
from onward_server.grammar.notation.element import ElementArguments
from onward_server.grammar.notation.rules import ArgumentsRejected
from onward_server.grammar.response_formats import Part, check_schema_size, checked_schema, json_part, rejected
from onward_server.grammar.schema.tree import FREE, AllOf, Enum, Never, Object
from onward_server.grammar.tool_calls import BareNotation, ElementNotation, OfferedTool
from onward_server.json_value import Json, NotJson

_ANY_OBJECT: Json = {"type": "object"}
_NO_ARGUMENTS: Json = {"type": "object", "properties": {}, "additionalProperties": False}


def json_arguments(index: int, offered: OfferedTool, keys: tuple[str, str] | None, *, is_required: bool) -> Part:
    """Arguments that are a JSON object.

    `keys`: the model writes an object of the tool's name and its arguments, under these keys.

    Raises:
        InvalidRequest: The schema of the arguments cannot be enforced.
    """
    field, schema = _schema(offered, is_required=is_required)
    document = checked_schema(field, schema)
    arguments = AllOf("#", (FREE["object"], document.root))
    if keys is None:
        return json_part(field, arguments_name(index), arguments, document)
    members = {keys[0]: Enum("#", (offered.tool.name,)), keys[1]: arguments}
    return json_part(field, arguments_name(index), Object("#", Never("#"), members, required=keys), document)


def notation_arguments(
    index: int,
    offered: OfferedTool,
    notation: ElementNotation | BareNotation,
    control: ControlTokens,
    *,
    is_required: bool,
) -> Part:
    """Arguments in a notation other than JSON.

    Raises:
        InvalidRequest: The schema of the arguments cannot be enforced, be it at all or in this notation.
    """
    field, schema = _schema(offered, is_required=is_required)
    document = checked_schema(field, schema)
    match notation:
        case ElementNotation():
            writer = ElementArguments(notation, control, document)
        case BareNotation():
            writer = BareArguments(notation, control, document)
        case _:
            assert_never(notation)
    try:
        grammar = writer.grammar(AllOf("#", (FREE["object"], document.root)))
    except ArgumentsRejected as error:
        raise rejected(field, str(error)) from error
    named: lark.Grammar = {"name": arguments_name(index), "lark_grammar": grammar}
    return Part(field, named, probes=tuple(writer.rules.probes))


def _schema(offered: OfferedTool, *, is_required: bool) -> tuple[str, Json]:
    """The field of the schema, and the schema: the tool's own where it must be kept to, else any object."""
    field = f"{offered.field}.parameters"
    if not is_required and not offered.tool.strict:
        return field, _ANY_OBJECT
    if not offered.tool.parameters:
        return field, _NO_ARGUMENTS
    check_schema_size(field, offered.tool.parameters)
    try:
        return field, offered.tool.parsed_parameters
    except NotJson as error:
        raise rejected(field, f"not JSON: {error}") from error
