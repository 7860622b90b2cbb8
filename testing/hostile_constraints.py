"""Eighteen response formats that are made to take time or memory."""

import json

from onward_server.domain import ChoiceFormat, GrammarFormat, JsonSchemaFormat, RegexFormat, ResponseFormat
from onward_server.json_value import Json


def schema(value: Json) -> ResponseFormat:
    return JsonSchemaFormat(schema=json.dumps(value))


def nested(depth: int) -> ResponseFormat:
    start, end = '{"type":"object","properties":{"a":', '},"required":["a"]}'
    return JsonSchemaFormat(schema=start * depth + '{"type":"integer"}' + end * depth)


HOSTILE: dict[str, ResponseFormat] = {
    "schema 100 deep": nested(100),
    "schema 1,000 deep": nested(1000),
    "schema 20,000 deep": nested(20_000),
    "5,000 properties": schema({"type": "object", "properties": {f"k{i}": {"type": "string"} for i in range(5000)}}),
    "enum of 50,000": schema({"enum": [f"value{i}" * 5 for i in range(50_000)]}),
    "nested repeats": RegexFormat(pattern="(a{1,1000}){1,1000}"),
    "two long tails": RegexFormat(pattern="(.*a.{200}b)(.*c.{200}d)"),
    "ambiguous repeats": RegexFormat(pattern="(x+x+)+y"),
    "exponential states": RegexFormat(pattern="(a|b)*a(a|b){25}"),
    "lookahead": RegexFormat(pattern="(?=a)b"),
    "20,000 alternatives": RegexFormat(pattern="|".join(f"w{i}[0-9]{{1,9}}" for i in range(20_000))),
    "30,000 parentheses": GrammarFormat(definition="start: " + "(" * 30_000 + '"a"' + ")" * 30_000),
    "self reference": schema({"$ref": "#"}),
    "a billion items": schema({"type": "array", "items": {"type": "integer"}, "minItems": 10**9}),
    "broken JSON": JsonSchemaFormat(schema='{"type":'),
    "left recursion": GrammarFormat(definition='start: start "a" | "a"'),
    "empty rule": GrammarFormat(definition="start: "),
    "20,000 choices": ChoiceFormat(choices=tuple(f"choice number {i}" for i in range(20_000))),
}
