"""Makes JSON schemas strict, and leaves out what no server can enforce; that is checked when the output is parsed.

Objects have exactly the properties that their schema names, all required, because models often leave out optional ones.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from itertools import chain
from typing import Any, TypeAlias, cast

Schema: TypeAlias = dict[str, Any]

_OMITTED = frozenset({"default", "discriminator", "examples", "title", "uniqueItems", "writeOnly", "readOnly"})
"""Keywords that do not constrain the output, or that cannot be enforced while it is generated."""
_FORMATS = frozenset(
    {
        *("date", "date-time", "duration", "time", "email", "idn-email", "hostname", "idn-hostname", "ipv4", "ipv6"),
        *("iri", "iri-reference", "uri", "uri-reference", "uuid", "json-pointer", "relative-json-pointer"),
    }
)
_HEX = "[0-9a-f]"
_OWN_FORMATS: Mapping[str, Schema] = {
    "ipvanyaddress": {"anyOf": [{"type": "string", "format": version} for version in ("ipv4", "ipv6")]},
    **{
        f"uuid{version}": {"pattern": f"^{_HEX}{{8}}-{_HEX}{{4}}-{version}{_HEX}{{3}}-[89ab]{_HEX}{{3}}-{_HEX}{{12}}$"}
        for version in range(1, 9)
    },
}
"""Formats that only pydantic defines, as keywords that every server knows."""
_CONSTRUCT = re.compile(r"\\(?P<escape>.)|(?P<group>\(\?(?!:|<[A-Za-z_]))", re.DOTALL)
_ESCAPES = frozenset("dDwWsStnrfxupP")
_MAX_EXACT = 2**53
_MAX_MULTIPLE = 2000
_BY_NAME = frozenset({"properties", "patternProperties", "$defs"})
_LISTS = frozenset({"anyOf", "allOf", "prefixItems"})
_SINGLE = frozenset({"items", "additionalProperties", "propertyNames"})


def enforceable(schema: Mapping[str, Any]) -> Schema:
    """Returns a schema that a server can enforce, and that allows every strict value of the given one."""
    result = _strict(schema)
    described = list(_all_schemas(result))
    multiples = [each["multipleOf"] for each in described if "multipleOf" in each]
    if not _can_be_enforced_together(multiples):
        for each in described:
            each.pop("multipleOf", None)
    return result


def _strict(schema: Mapping[str, Any]) -> Schema:
    result: Schema = {key: value for key, value in schema.items() if key not in _OMITTED}
    # The alternatives of pydantic's oneOf exclude each other, so anyOf means the same, and every server can compile it.
    if "oneOf" in result:
        result["anyOf"] = result.pop("oneOf")
    for key in _BY_NAME.intersection(result):
        result[key] = {name: _strict(value) for name, value in result[key].items()}
    for key in _LISTS.intersection(result):
        result[key] = [_strict(value) for value in result[key]]
    for key in _SINGLE.intersection(result):
        result[key] = _strict(result[key]) if isinstance(result[key], dict) else result[key]
    _drop_unenforceable(result)
    _widen_bounds(result)
    _widen_counts(result)
    if "properties" in result:
        result |= {"required": list(result["properties"]), "additionalProperties": False}
    elif "patternProperties" in result:
        result.setdefault("additionalProperties", False)
    return result


def _drop_unenforceable(schema: Schema) -> None:
    if (own := _OWN_FORMATS.get(schema.get("format", ""))) is not None:
        del schema["format"]
        schema |= own
    for key in [key for key, value in schema.items() if key in _KEPT_IF and not _KEPT_IF[key](value)]:
        del schema[key]
        if key == "patternProperties":
            schema["additionalProperties"] = True


def _widen_bounds(schema: Schema) -> None:
    """Makes an exclusive bound inclusive if the other bound is so near that a server could not exclude it."""
    if schema.get("type") == "integer":
        return
    low, high = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    top = min(schema.get("maximum", math.inf), schema.get("exclusiveMaximum", math.inf))
    bottom = max(schema.get("minimum", -math.inf), schema.get("exclusiveMinimum", -math.inf))
    if low is not None and low >= 0 and low == int(low) and low < top < low + 1:
        schema["minimum"] = schema.pop("exclusiveMinimum")
    if high is not None and high <= 0 and high == int(high) and high - 1 < bottom < high:
        schema["maximum"] = schema.pop("exclusiveMaximum")


def _widen_counts(schema: Schema) -> None:
    """Lowers `minProperties` to what a server can count: names that the schema does not list may repeat."""
    least = schema.get("minProperties", 0)
    if "properties" in schema or (least and "maxProperties" in schema and "enum" in schema.get("propertyNames", {})):
        schema.pop("minProperties", None)
    elif least > 1:
        schema["minProperties"] = 1


def _is_exact(value: object) -> bool:
    """Returns whether a value of an enum can be written exactly in every server."""
    match value:
        case bool() | None:
            return True
        case str():
            return all(character >= " " or character in "\t\n\r\f\b" for character in value)
        case int() | float():
            return abs(value) <= _MAX_EXACT
        case list():
            return all(map(_is_exact, cast("list[object]", value)))
        case _:
            return False


def _can_be_matched(pattern: str) -> bool:
    """Returns whether a pattern has no lookaround, flags, backreferences or escapes of one dialect only."""
    found = _CONSTRUCT.finditer(pattern)
    return not any(each["group"] or (each["escape"].isalnum() and each["escape"] not in _ESCAPES) for each in found)


def _can_be_enforced_together(multiples: list[float]) -> bool:
    common = Fraction(1)
    for multiple in multiples:
        one = Fraction(repr(multiple))
        common = Fraction(math.lcm(common.numerator, one.numerator), math.gcd(common.denominator, one.denominator))
        if max(map(_digits, (one, common))) > _MAX_MULTIPLE:
            return False
    return True


def _digits(number: Fraction) -> int:
    """Returns the digits of a number, without its decimal point and trailing zeros."""
    return int(str((number * 10**30).numerator).rstrip("0"))


def _all_schemas(schema: Schema) -> Iterator[Schema]:
    yield schema
    by_name = (schema[key].values() for key in _BY_NAME.intersection(schema))
    lists = (schema[key] for key in _LISTS.intersection(schema))
    single = (schema[key] for key in _SINGLE.intersection(schema))
    for inner in chain(*by_name, *lists, single):
        if isinstance(inner, dict):
            yield from _all_schemas(cast("Schema", inner))


_KEPT_IF: Mapping[str, Callable[[Any], bool]] = {
    "format": _FORMATS.__contains__,
    "pattern": _can_be_matched,
    "patternProperties": lambda by_pattern: all(map(_can_be_matched, by_pattern)),
    "propertyNames": bool,
    "enum": _is_exact,
    "const": _is_exact,
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), _is_exact),
}
