"""The code that needs pydantic: JSON schemas of types, and types for the arguments of functions."""

from inspect import Parameter, Signature
from typing import Annotated, Any, NotRequired

from pydantic import ConfigDict
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema
from typing_extensions import TypedDict

_YEAR = "([0-9]{3}[1-9]|[0-9]{2}[1-9]0|[0-9][1-9]00|[1-9]000)"
_LEAP_YEAR = "([0-9]{2}(0[48]|[2468][048]|[13579][26])|(0[48]|[2468][048]|[13579][26])00)"
_DAY = (
    f"({_YEAR}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))"
    f"|{_LEAP_YEAR}-02-29)"
)
_NAIVE_DATETIME = f"^{_DAY}T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]$"
_INTEGER = "^(0|-?[1-9][0-9]{0,17})$"
_NUMBER = r"^-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,17})?$"
# JSON has only strings as keys: the strings that pydantic reads as keys of these types.
_KEYS = {
    "integer": {"pattern": _INTEGER},
    "number": {"pattern": _NUMBER},
    "boolean": {"enum": ["true", "false"]},
}


class EnforceableJsonSchema(GenerateJsonSchema):
    """Describes values more exactly than pydantic does, where a server could otherwise write what the type rejects."""

    def datetime_schema(self, schema: core_schema.DatetimeSchema) -> JsonSchemaValue:
        """A naive datetime has no time zone, which the format `date-time` requires."""
        if schema.get("tz_constraint") == "naive":
            return {"type": "string", "pattern": _NAIVE_DATETIME}
        return super().datetime_schema(schema)

    def decimal_schema(self, schema: core_schema.DecimalSchema) -> JsonSchemaValue:
        """A decimal is written as a number; pydantic allows any string as well."""
        described = super().decimal_schema(schema)
        numbers = [each for each in described.get("anyOf", []) if each.get("type") == "number"]
        return numbers[0] if numbers else described

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        """The names of properties have the form of the keys."""
        described = super().dict_schema(schema)
        keys = schema.get("keys_schema")
        if keys is None or "patternProperties" in described:
            return described
        names = self._names(self.generate_inner(keys))
        described.pop("propertyNames", None)
        return {**described, "propertyNames": names} if names else described

    def _names(self, keys: JsonSchemaValue) -> JsonSchemaValue:
        """Returns the schema of a dict's keys as a schema of strings; empty if they may be any string."""
        reference = keys.get("$ref")
        if reference is not None:
            found = self.get_schema_from_definitions(reference)
            return self._names(found) if found is not None else {}
        values = keys.get("enum", [keys["const"]] if "const" in keys else None)
        if values is not None:
            return {"enum": values} if all(isinstance(value, str) for value in values) else {}
        if "anyOf" in keys:
            return {}
        if keys.get("type") in _KEYS:
            return _KEYS[keys["type"]]
        kept = {name: keys[name] for name in ("format", "pattern", "minLength", "maxLength") if name in keys}
        return {"type": "string", **kept} if kept else {}


def arguments_type(name: str, signature: Signature) -> type:
    """Returns the type of a dict with the arguments of a function; those with a default may be left out.

    Raises:
        TypeError: A parameter cannot be passed by name.
    """
    fields: dict[str, Any] = {}
    for parameter in signature.parameters.values():
        match parameter.kind:
            case Parameter.POSITIONAL_ONLY:
                raise TypeError(f"its parameter {parameter.name!r} cannot be passed by name")
            case Parameter.VAR_POSITIONAL | Parameter.VAR_KEYWORD:
                continue
            case _:
                fields[parameter.name] = _field(parameter)
    arguments: Any = TypedDict(name, fields)  # pyright: ignore[reportArgumentType, reportGeneralTypeIssues, reportUnknownVariableType]
    arguments.__pydantic_config__ = ConfigDict(extra="forbid")
    return arguments


def _field(parameter: Parameter) -> Any:  # noqa: ANN401 - a form of `typing`
    kind: Any = Any if parameter.annotation is Parameter.empty else parameter.annotation
    if isinstance(parameter.default, FieldInfo):
        kind = Annotated[kind, parameter.default]
        return kind if parameter.default.is_required() else NotRequired[kind]
    return kind if parameter.default is Parameter.empty else NotRequired[kind]
