"""Writes the grammar of one tool's arguments, in the notation of the model's tool format."""

from typing import assert_never

from onward_server.grammar import lark
from onward_server.grammar.call_grammar import arguments_name
from onward_server.grammar.notation.bare import BareArguments
from onward_server.grammar.notation.element import ElementArguments
from onward_server.grammar.notation.rules import ArgumentsRejected
from onward_server.grammar.response_formats import Part, json_part, rejected, schema_document
from onward_server.grammar.schema import tree
from onward_server.grammar.schema.checks import enforceable
from onward_server.grammar.tool_calls import BareNotation, ElementNotation, OfferedTool


def json_arguments(index: int, offered: OfferedTool, keys: tuple[str, str] | None, *, is_required: bool) -> Part:
    """The grammar of arguments that are a JSON object.

    `keys`: if given, the model writes an object of the tool's name and its arguments under these two keys.

    Raises:
        InvalidRequest: The schema of the arguments cannot be enforced.
    """
    field, document = _document(offered, is_required=is_required)
    arguments = _object(document)
    if keys is not None:
        members = {keys[0]: tree.Enum("#", (offered.tool.name,)), keys[1]: arguments}
        arguments = tree.Object("#", tree.Never("#"), members, required=keys)
    return json_part(field, arguments_name(index), arguments, document)


def notation_arguments(
    index: int,
    offered: OfferedTool,
    notation: ElementNotation | BareNotation,
    control: lark.ControlTokens,
    *,
    is_required: bool,
) -> Part:
    """The grammar of arguments in a notation other than JSON.

    Raises:
        InvalidRequest: The schema of the arguments cannot be enforced at all, or not in this notation.
    """
    field, document = _document(offered, is_required=is_required)
    match notation:
        case ElementNotation():
            writer = ElementArguments(notation, control, document)
        case BareNotation():
            writer = BareArguments(notation, control, document)
        case _:
            assert_never(notation)
    try:
        grammar = writer.grammar(_object(document))
    except ArgumentsRejected as error:
        raise rejected(field, str(error)) from error
    named: lark.Grammar = {"name": arguments_name(index), "lark_grammar": grammar}
    return Part(field, named, probes=tuple(writer.rules.probes))


def _object(document: tree.Document) -> tree.Schema:
    """The schema of the document, restricted to objects."""
    return tree.AllOf("#", (tree.FREE["object"], document.root))


def _document(offered: OfferedTool, *, is_required: bool) -> tuple[str, tree.Document]:
    """The field and the schema of the arguments; allows any object if the tool's schema need not be enforced."""
    field = f"{offered.field}.parameters"
    if not is_required and not offered.tool.strict:
        return field, enforceable({"type": "object"})
    if not offered.tool.parameters:
        return field, enforceable({"type": "object", "properties": {}, "additionalProperties": False})
    return field, schema_document(field, offered.tool.parameters, lambda: offered.tool.parsed_parameters)
