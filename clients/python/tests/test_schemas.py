"""Python types become strict JSON schemas. Another library, jsonschema, judges what a schema allows."""

import json
import sys
from enum import Enum
from typing import Annotated, Any, Literal

import jsonschema
import pytest
from llguidance import LLMatcher
from pydantic import BaseModel, Field

from onward_client import RequestError, complete_request
from onward_client.schemas import json_schema


class Color(Enum):
    """A closed set."""

    RED = "red"
    BLUE = "blue"


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


def schema_of(kind: type) -> Any:  # noqa: ANN401 - JSON, to look inside
    return json_schema(kind)


def is_allowed(value: Any) -> bool:  # noqa: ANN401 - any JSON
    try:
        jsonschema.validate(value, schema_of(Drawing))
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


def test_llguidance_compiles_the_schema() -> None:
    grammar = LLMatcher.grammar_from_json_schema(json.dumps(json_schema(Drawing)))

    assert not LLMatcher.validate_grammar(grammar)


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
