"""Builds the response format of a request, which constrains its output, from plain Python values."""

from collections.abc import Mapping, Sequence
from typing import Literal, NotRequired, TypeAlias, TypedDict

from onward.v1.sampling_pb2 import GrammarFormat, JsonSchemaFormat, ResponseFormat
from onward_client.dicts import is_dict, json_text, set_fields
from onward_client.errors import RequestError, shown
from onward_client.fields import build
from onward_client.schemas import TypeLike, is_type, json_schema, name_of


class JsonSchemaDict(TypedDict):
    """A `JsonSchemaFormat` as a dict; `schema` is a dict or JSON text. The schema is always enforced in full."""

    schema: Mapping[str, object] | str
    name: NotRequired[str]
    description: NotRequired[str]
    strict: NotRequired[Literal[True]]


class RegexDict(TypedDict):
    """A `RegexFormat` as a dict."""

    pattern: str


class GrammarDict(TypedDict):
    """A `GrammarFormat` as a dict; the grammar is in Lark notation."""

    definition: str


class ChoiceDict(TypedDict):
    """A `ChoiceFormat` as a dict."""

    choices: Sequence[str]


class ResponseFormatDict(TypedDict, total=False):
    """A `ResponseFormat` as a dict: exactly one of its fields, and optionally the name of that field as `type`."""

    type: Literal["text", "json_object", "json_schema", "regex", "grammar", "choice"]
    json_schema: JsonSchemaDict
    regex: RegexDict
    grammar: GrammarDict
    choice: ChoiceDict


ResponseFormatLike: TypeAlias = "ResponseFormat | ResponseFormatDict | Literal['text', 'json_object'] | TypeLike"
"""What the output must match. A type (needs pydantic) means JSON that can be parsed as that type."""

_PATH = "response_format"


def to_response_format(wanted: object) -> ResponseFormat:
    """Returns a response format as protobuf.

    Raises:
        RequestError: A field is unknown or has the wrong type, or the type has no JSON schema.
    """
    if isinstance(wanted, ResponseFormat):
        return wanted
    if isinstance(wanted, str):
        if wanted not in {"text", "json_object"}:
            raise RequestError(f"{_PATH}: must be 'text', 'json_object', a dict or a type, not {shown(wanted)}")
        return build(ResponseFormat, "", {wanted: {}})
    if is_dict(wanted):
        return _from_dict(wanted)
    if is_type(wanted):
        return schema_format(wanted)
    raise RequestError(f"{_PATH}: must be 'text', 'json_object', a dict or a type, not {shown(wanted)}")


def schema_format(kind: object) -> ResponseFormat:
    """Returns the response format whose JSON can be parsed as a type."""
    schema = json_text(json_schema(kind), f"{_PATH}.json_schema.schema")
    return ResponseFormat(json_schema=JsonSchemaFormat(schema=schema, name=name_of(kind)))


def _from_dict(wanted: Mapping[str, object]) -> ResponseFormat:
    given = set_fields(wanted)
    name = given.pop("type", None) or next(iter(given), None)
    if name == "json_schema" and "schema" in given:
        raise RequestError(
            f"{_PATH}: put name and schema inside `json_schema`: "
            "{'type': 'json_schema', 'json_schema': {'name': ..., 'schema': ...}}"
        )
    if not isinstance(name, str) or set(given) - {name}:
        named = ", ".join(map(shown, wanted)) or "an empty dict"
        raise RequestError(f"{_PATH}: must have exactly one field, not {named}")
    fields = given.get(name, {})
    if is_dict(fields):
        fields = _completed(name, set_fields(fields))
    return build(ResponseFormat, _PATH, {name: fields})


def _completed(name: str, fields: dict[str, object]) -> dict[str, object]:
    """Returns the fields as protobuf expects them: a schema becomes text, and a grammar without `syntax` is Lark."""
    if name == "json_schema":
        path = f"{_PATH}.json_schema"
        if "schema" not in fields:
            raise RequestError(f"{path}.schema: is not set")
        if fields.pop("strict", True) is not True:
            raise RequestError(f"{path}.strict: must be True or left out; a schema is always enforced in full")
        schema = fields["schema"]
        fields["schema"] = schema if isinstance(schema, bytes) else json_text(schema, f"{path}.schema")
    if name == "grammar":
        fields.setdefault("syntax", GrammarFormat.SYNTAX_LARK)
    return fields
