"""Python types become strict JSON schemas. Another library, jsonschema, judges what a schema allows."""

import json
import re
import sys
from calendar import monthrange
from functools import partial
from ipaddress import IPv4Network
from typing import Annotated, Any, Literal, cast

import jsonschema
import pytest
from llguidance import LLMatcher
from pydantic import BaseModel, Field, HttpUrl, NaiveDatetime

from onward_client import OutputValidationError, RequestError, complete_request
from onward_client.enforceable import enforceable
from onward_client.replies import to_reply
from onward_client.results import to_completion
from onward_client.schemas import json_reader, json_schema
from responses import choice, response, tool_call
from typed_values import BOUND, CHECKED, Box, Color, Slug


class Circle(BaseModel):
    """A shape."""

    kind: Literal["circle"]
    radius: float = 1.0


class Square(BaseModel):
    """Another shape."""

    kind: Literal["square"]
    side: int


class Drawing(BaseModel):
    """A type that uses every feature of schemas."""

    title: str
    default: bool = True
    color: Color
    shape: Annotated[Circle | Square, Field(discriminator="kind")]
    shapes: list[Circle]
    sizes: dict[str, int] = {}
    pair: tuple[int, str]
    inside: "Drawing | None" = None


DRAWING: dict[str, Any] = {
    "title": "a",
    "default": False,
    "color": "red",
    "shape": {"kind": "square", "side": 2},
    "shapes": [{"kind": "circle", "radius": 0.5}],
    "sizes": {"any": 1},
    "pair": [1, "b"],
    "inside": None,
}


def schema_of(kind: Any) -> Any:  # noqa: ANN401 - JSON, to look inside
    return json_schema(kind)


def is_allowed(value: Any, kind: Any = Drawing) -> bool:  # noqa: ANN401 - any JSON, any type
    try:
        jsonschema.validate(value, schema_of(kind))
    except jsonschema.ValidationError:
        return False
    return True


def test_a_full_value_is_allowed() -> None:
    assert is_allowed(DRAWING | {"inside": DRAWING})


@pytest.mark.parametrize("name", DRAWING)
def test_every_property_is_required_whatever_its_default(name: str) -> None:
    assert not is_allowed({key: value for key, value in DRAWING.items() if key != name})


@pytest.mark.parametrize(
    "change",
    [
        {"more": 1},
        {"shape": {"kind": "square", "side": 2, "more": 1}},
        {"shape": {"kind": "circle"}},
        {"shapes": [{"kind": "circle", "radius": 1, "more": 1}]},
        {"shapes": [{"kind": "circle"}]},
        {"sizes": {"any": "large"}},
        {"inside": {"title": "b"}},
    ],
    ids=str,
)
def test_nothing_else_is_allowed_at_any_depth(change: dict[str, Any]) -> None:
    assert not is_allowed(DRAWING | change)


def test_a_property_may_have_the_name_of_a_schema_keyword() -> None:
    assert {"title", "default"} <= set(schema_of(Drawing)["$defs"]["Drawing"]["properties"])


def test_properties_keep_the_order_of_the_type() -> None:
    assert list(schema_of(Circle)["properties"]) == schema_of(Circle)["required"] == ["kind", "radius"]


@pytest.mark.parametrize(("kind", "text"), [*BOUND.values(), *CHECKED.values()], ids=[*BOUND, *CHECKED])
def test_the_schema_of_a_type_can_be_enforced_and_allows_its_values(kind: Any, text: str) -> None:  # noqa: ANN401
    schema = json_schema(kind)
    written = json.dumps(schema)

    # The server reads `propertyNames` itself.
    if "propertyNames" not in written:
        assert not LLMatcher.validate_grammar(LLMatcher.grammar_from_json_schema(written))
    jsonschema.validate(json.loads(text), cast("Any", schema))
    json_reader(kind)(text)


KEYS: list[tuple[Any, str, str]] = [
    (dict[int, int], "7", "seven"),
    (dict[Slug, int], "a-b", "A B"),
    (dict[Literal["a", "b"], int], "a", "c"),
    (dict[Color, int], "red", "green"),
    (dict[bool, int], "true", "maybe"),
    (dict[float, int], "0.5", "half"),
]


@pytest.mark.parametrize(("kind", "right", "wrong"), KEYS, ids=[str(kind) for kind, _, _ in KEYS])
def test_the_keys_of_a_dict_are_constrained_by_their_type(kind: Any, right: str, wrong: str) -> None:  # noqa: ANN401
    """Pydantic's schema left these keys free, so that the output could not be read."""
    assert is_allowed({right: 1}, kind)
    assert not is_allowed({wrong: 1}, kind)
    with pytest.raises(ValueError, match="validation error"):
        json_reader(kind)(json.dumps({wrong: 1}))


def test_a_naive_datetime_is_written_without_a_time_zone() -> None:
    """The format `date-time` demands a time zone, which the type rejects, so that it could never be read."""
    assert is_allowed("2024-01-31T10:00:00", NaiveDatetime)
    assert not is_allowed("2024-01-31T10:00:00Z", NaiveDatetime)


@pytest.mark.parametrize("year", [0, 1, 96, 100, 400, 1000, 1900, 2000, 2023, 2024, 2100, 2400, 9996, 9999])
def test_a_naive_datetime_has_a_day_of_the_calendar(year: int) -> None:
    """The type could not read another day, such as 30 February."""
    pattern = re.compile(schema_of(NaiveDatetime)["pattern"])
    for month in range(14):
        num_days = monthrange(year, month)[1] if year and 1 <= month <= 12 else 0
        allowed = [day for day in range(33) if pattern.search(f"{year:04}-{month:02}-{day:02}T10:00:00")]
        assert allowed == list(range(1, num_days + 1))


WRONG: list[tuple[Any, str]] = [
    (Annotated[set[int], Field(min_length=2)], "[1, 1]"),
    (Annotated[float, Field(gt=0, le=0.5)], "0"),
    (Annotated[int, Field(multiple_of=4999)], "5"),
    (IPv4Network, '"nothing"'),
    (HttpUrl, '"ftp://a.example"'),
]


@pytest.mark.parametrize(("kind", "text"), WRONG, ids=[text for _, text in WRONG])
def test_what_a_schema_cannot_enforce_is_checked_afterwards(kind: Any, text: str) -> None:  # noqa: ANN401
    jsonschema.validate(json.loads(text), schema_of(kind))

    completion = to_completion(to_reply(response(choice(text)), "id"))
    with pytest.raises(OutputValidationError, match="the output does not match") as raised:
        completion.parse(kind)
    assert raised.value.text == text


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({"type": "number", "exclusiveMaximum": 0, "minimum": -0.5}, {"type": "number", "maximum": 0, "minimum": -0.5}),
        ({"type": "number", "exclusiveMinimum": 2, "maximum": 2.5}, {"type": "number", "minimum": 2, "maximum": 2.5}),
        (
            {"type": "number", "exclusiveMinimum": 0, "maximum": 9},
            {"type": "number", "exclusiveMinimum": 0, "maximum": 9},
        ),
        ({"enum": [["a"], ["b"]]}, {"enum": [["a"], ["b"]]}),
        ({"enum": [["a"], ["b\x00"]]}, {}),
        ({"const": {"a": 1}}, {}),
        ({"type": "number", "maximum": float("inf")}, {"type": "number"}),
    ],
    ids=str,
)
def test_bounds_and_constants_that_no_server_can_enforce_are_widened(
    given: dict[str, Any], sent: dict[str, Any]
) -> None:
    assert enforceable(given) == sent


@pytest.mark.parametrize(
    ("pattern", "is_kept"),
    [
        ("^[a-z]+$", True),
        (r"^\d{4}-\d\d$", True),
        (r"^(?:a|(?<name>b))\.\\$", True),
        ("^(?=a).*$", False),
        ("^(?!a).*$", False),
        ("(?<=a)b", False),
        ("(?i)a", False),
        (r"\ba\b", False),
        (r"(a)\1", False),
        (r"\\b", True),
    ],
)
def test_a_pattern_that_no_server_can_enforce_is_left_out(pattern: str, is_kept: bool) -> None:  # noqa: FBT001
    assert enforceable({"type": "string", "pattern": pattern}).get("pattern") == (pattern if is_kept else None)
    by_pattern = enforceable({"type": "object", "patternProperties": {pattern: {"type": "integer"}}})
    assert by_pattern["additionalProperties"] is (not is_kept)


def test_a_function_becomes_a_tool_with_its_arguments() -> None:
    def forecast(city: str, days: int = 1) -> str:
        """The weather to come."""
        return f"{city}: sun for {days} days"

    (tool,) = complete_request(tools=[forecast]).tools

    assert (tool.function.name, tool.function.description) == ("forecast", "The weather to come.")
    assert tool.function.strict
    assert json.loads(tool.function.parameters) == {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city", "days"],
        "additionalProperties": False,
    }


def test_a_function_is_read_by_its_own_annotations() -> None:
    def order(
        size: Annotated[int, Field(ge=1, description="In pieces.")],
        color: "Color" = Color.RED,
        note: str | None = Field(default=None, max_length=5),
        *further: int,
        **more: int,
    ) -> None:
        raise AssertionError((size, color, note, further, more))

    (tool,) = complete_request(tools=[order]).tools

    assert json.loads(tool.function.parameters)["properties"] == {
        "size": {"type": "integer", "minimum": 1, "description": "In pieces."},
        "color": {"$ref": "#/$defs/Color"},
        "note": {"anyOf": [{"type": "string", "maxLength": 5}, {"type": "null"}]},
    }
    assert json_reader(order)('{"size": 1, "color": "blue"}') == {"size": 1, "color": Color.BLUE, "note": None}
    with pytest.raises(ValueError, match="Extra inputs are not permitted"):
        json_reader(order)('{"size": 1, "price": 2}')


def test_a_partial_function_has_the_name_of_the_function_and_its_other_arguments() -> None:
    def weather(city: str, unit: str) -> None:
        raise AssertionError((city, unit))

    (tool,) = complete_request(tools=[partial(weather, unit="C")]).tools

    assert tool.function.name == "weather"
    assert set(json.loads(tool.function.parameters)["properties"]) == {"city", "unit"}


def test_the_name_of_a_tool_has_only_characters_of_the_protocol() -> None:
    (generic, anonymous) = complete_request(tools=[Box[list[int]], lambda: None]).tools

    assert (generic.function.name, anonymous.function.name) == ("Box_list_int__", "_lambda_")
    called = to_completion(to_reply(response(choice(calls=[tool_call("Box_list_int__", '{"content": [1]}')])), "id"))
    assert called.parse_tool_calls(Box[list[int]]) == [Box[list[int]](content=[1])]


def test_a_function_whose_arguments_have_no_names_is_rejected() -> None:
    def power(base: int, /) -> int:
        return base

    with pytest.raises(RequestError, match=r"^power has no JSON schema: its parameter 'base' cannot be passed by name"):
        complete_request(tools=[power])


def test_a_type_becomes_a_tool_with_its_fields() -> None:
    (tool,) = complete_request(tools=[Circle]).tools

    assert (tool.function.name, tool.function.description) == ("Circle", "A shape.")
    assert json.loads(tool.function.parameters) == schema_of(Circle)


def test_a_type_without_a_schema_is_rejected_by_name() -> None:
    class Odd(BaseModel):
        kind: type

    with pytest.raises(RequestError, match=r"^Odd has no JSON schema: "):
        complete_request("Hi", response_format=Odd)


def test_without_pydantic_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydantic", None)

    with pytest.raises(
        RequestError,
        match=r"^Circle: types and functions need pydantic, which is not installed; run `pip install pydantic`$",
    ):
        complete_request("Hi", response_format=Circle)
