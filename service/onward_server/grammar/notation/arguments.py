"""Writes the grammar of one tool's arguments, in the notation of the model's tool format."""

from typing import assert_never

from onward_server.grammar import lark
from onward_server.grammar.call_grammar import arguments_name
from onward_server.grammar.notation.bare import BareArguments
from onward_server.grammar.notation.element import ElementArguments
from onward_server.grammar.notation.keyword import KeywordArguments
from onward_server.grammar.notation.rules import ArgumentsRejected
from onward_server.grammar.response_formats import Part, json_part, rejected, schema_document
from onward_server.grammar.schema import tree
from onward_server.grammar.schema.checks import enforceable
from onward_server.grammar.tool_calls import BareNotation, ElementNotation, KeywordNotation, OfferedTool


def json_arguments(index: int, offered: OfferedTool, keys: tuple[str, str] | None, *, is_enforced: bool) -> Part:
    """The grammar of arguments that are a JSON object.

    `keys`: if given, the model writes an object of the tool's name and its arguments under these two keys.
    `is_enforced`: whether the arguments match the tool's schema; if not, they are any object.

    Raises:
        InvalidRequest: The schema of the arguments cannot be enforced.
    """
    document = _document(offered, is_enforced=is_enforced)
    arguments = _object(document)
    if keys is not None:
        members = {keys[0]: tree.Enum("#", (offered.tool.name,)), keys[1]: arguments}
        arguments = tree.Object("#", tree.Never("#"), members, required=keys)
    return json_part(offered.parameters_field, arguments_name(index), arguments, document)


def notation_arguments(
    index: int,
    offered: OfferedTool,
    notation: ElementNotation | BareNotation | KeywordNotation,
    control: lark.ControlTokens,
    *,
    is_enforced: bool,
) -> Part:
    """The grammar of arguments in a notation other than JSON.

    Raises:
        InvalidRequest: The schema of the arguments cannot be enforced at all, or not in this notation.
    """
    document = _document(offered, is_enforced=is_enforced)
    match notation:
        case ElementNotation():
            writer = ElementArguments(notation, control, document)
        case BareNotation():
            writer = BareArguments(notation, control, document)
        case KeywordNotation():
            writer = KeywordArguments(control, document)
        case _:
            assert_never(notation)
    try:
        grammar = writer.grammar(_object(document))
    except ArgumentsRejected as error:
        raise rejected(offered.parameters_field, str(error)) from error
    named: lark.Grammar = {"name": arguments_name(index), "lark_grammar": grammar}
    return Part(offered.parameters_field, named, probes=tuple(writer.rules.probes))


def _object(document: tree.Document) -> tree.Schema:
    """The schema of the document, restricted to objects."""
    return tree.AllOf("#", (tree.FREE["object"], document.root))


def _document(offered: OfferedTool, *, is_enforced: bool) -> tree.Document:
    """The schema of the arguments."""
    if not is_enforced:
        return enforceable({"type": "object"})
    if not offered.tool.parameters:
        return enforceable({"type": "object", "properties": {}, "additionalProperties": False})
    return schema_document(offered.parameters_field, offered.tool.parameters, lambda: offered.tool.parsed_parameters)
