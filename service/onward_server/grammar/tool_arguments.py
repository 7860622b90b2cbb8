"""Writes the grammar of one tool's arguments, in whatever notation its model writes them; it knows no frame."""

from typing import assert_never

from onward_server.grammar import lark
from onward_server.grammar.argument_rules import ArgumentsRefused
from onward_server.grammar.bare_arguments import BareArguments
from onward_server.grammar.call_grammar import arguments_name
from onward_server.grammar.element_arguments import ElementArguments
from onward_server.grammar.formats import Part, checked_schema, count_ways, json_grammar, refused
from onward_server.grammar.json_schema import enforceable_object
from onward_server.grammar.lark import ControlTokens
from onward_server.grammar.schema_types import SchemaTypes
from onward_server.grammar.tool_calls import BareNotation, ElementNotation, OfferedTool
from onward_server.grammar.values import JsonObject, parse

_ANY_OBJECT = '{"type": "object"}'
_NO_ARGUMENTS = '{"type": "object", "properties": {}, "additionalProperties": false}'


def json_arguments(index: int, offered: OfferedTool, keys: tuple[str, str] | None, *, is_required: bool) -> Part:
    """Arguments that are a JSON object.

    `keys`: what is written is an object of the tool's name and its arguments, under these.

    Raises:
        InvalidRequest: Their schema cannot be enforced.
    """
    field, schema = _schema(offered, is_required=is_required)
    rewritten = checked_schema(field, schema, enforceable_object)
    num_ways = count_ways(rewritten)
    if keys is not None:
        definitions = rewritten.pop("$defs")
        properties: JsonObject = {keys[0]: {"const": offered.tool.name}, keys[1]: rewritten}
        call: JsonObject = {"type": "object", "properties": properties, "required": list(keys)}
        rewritten = {**call, "additionalProperties": False, "$defs": definitions}
    return Part(field, json_grammar(arguments_name(index), rewritten), num_ways=num_ways)


def noted_arguments(
    index: int,
    offered: OfferedTool,
    notation: ElementNotation | BareNotation,
    control: ControlTokens,
    *,
    is_required: bool,
) -> Part:
    """Arguments in a notation of their own.

    Raises:
        InvalidRequest: Their schema cannot be enforced, be it at all or in this notation.
    """
    field, schema = _schema(offered, is_required=is_required)
    rewritten = checked_schema(field, schema, enforceable_object)
    num_ways = count_ways(rewritten)
    definitions = rewritten.pop("$defs")
    assert isinstance(definitions, dict), "what is rewritten has a list of definitions"
    match notation:
        case ElementNotation():
            writer = ElementArguments(notation, control, SchemaTypes(parse(schema)), definitions)
        case BareNotation():
            writer = BareArguments(notation, control, definitions)
        case _:
            assert_never(notation)
    try:
        grammar = writer.grammar(rewritten)
    except ArgumentsRefused as error:
        raise refused(field, str(error)) from error
    named: lark.Grammar = {"name": arguments_name(index), "lark_grammar": grammar}
    return Part(field, named, num_ways=num_ways, probes=tuple(dict.fromkeys(writer.rules.probes)))


def _schema(offered: OfferedTool, *, is_required: bool) -> tuple[str, str]:
    """Where the schema stands, and what binds: itself where the tool is strict or a call required, else any object."""
    is_bound = is_required or offered.tool.strict
    return f"{offered.field}.parameters", (offered.tool.parameters or _NO_ARGUMENTS) if is_bound else _ANY_OBJECT
