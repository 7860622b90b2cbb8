"""The types of pydantic, each with a value as JSON text. The server's tests compile their schemas as well."""

import collections
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import ipaddress
import pathlib
import re
import uuid
import zoneinfo
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, NotRequired, TypeVar

import pydantic
from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypeAliasType, TypedDict

T = TypeVar("T")


class Color(enum.Enum):
    """An enum of strings."""

    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    """An enum of numbers."""

    LOW = 1
    HIGH = 2


class Mixed(enum.Enum):
    """An enum of values of several types."""

    TEXT = "a"
    NUMBER = 2


class Bits(enum.Flag):
    """An enum of flags."""

    A = 1
    B = 2


class Tree(BaseModel):
    """A recursive model."""

    value: int
    children: "list[Tree]" = []


class Circle(BaseModel):
    """One alternative of a union."""

    kind: Literal["circle"]
    radius: Annotated[float, Field(gt=0)]


class Square(BaseModel):
    """Another alternative."""

    kind: Literal["square"]
    side: Annotated[int, Field(multiple_of=97)] = 97


class Renamed(BaseModel):
    """A field with an alias."""

    name: str = Field(alias="fullName")


class Open(BaseModel):
    """A model that allows further fields."""

    model_config = ConfigDict(extra="allow")
    a: int


class Box(BaseModel, Generic[T]):
    """A generic model."""

    content: T


@dataclasses.dataclass
class Point:
    """A dataclass."""

    x: int
    y: int = 0


class Movie(TypedDict):
    """A dict with known keys."""

    title: str
    year: NotRequired[int]


class Pair(NamedTuple):
    """A named tuple."""

    first: int
    second: str


class Everything(BaseModel):
    """Many types in one model."""

    when: pydantic.NaiveDatetime
    files: set[pathlib.Path]
    by_id: dict[int, Color]
    shapes: list[Annotated[Circle | Square, Field(discriminator="kind")]]
    price: decimal.Decimal
    secret: pydantic.SecretStr
    nested: dict[Literal["a", "b"], frozenset[bytes]]


Nested = TypeAliasType("Nested", "dict[str, Nested] | list[Nested] | int")
Multiple97 = Annotated[int, Field(multiple_of=97)]
Slug = Annotated[str, Field(pattern="^[a-z]+(-[a-z]+)*$")]

BOUND: dict[str, tuple[Any, str]] = {
    "int": (int, "5"),
    "float": (float, "0.5"),
    "str": (str, '"a"'),
    "bool": (bool, "true"),
    "None": (type(None), "null"),
    "Any": (Any, "{}"),
    "date": (dt.date, '"2024-02-29"'),
    "datetime": (dt.datetime, '"2024-02-29T10:00:00Z"'),
    "AwareDatetime": (pydantic.AwareDatetime, '"2024-02-29T10:00:00+01:00"'),
    "UUID": (uuid.UUID, '"12345678-1234-1234-1234-123456789abc"'),
    "UUID4": (pydantic.UUID4, '"12345678-1234-4234-9234-123456789abc"'),
    "IPvAnyAddress": (pydantic.IPvAnyAddress, '"10.0.0.1"'),
    "IPv4Address": (ipaddress.IPv4Address, '"10.0.0.1"'),
    "IPv6Address": (ipaddress.IPv6Address, '"::1"'),
    "bytes": (bytes, '"abc"'),
    "Path": (pathlib.Path, '"a/b"'),
    "SecretStr": (pydantic.SecretStr, '"a"'),
    "SecretBytes": (pydantic.SecretBytes, '"a"'),
    "PositiveInt": (pydantic.PositiveInt, "1"),
    "NonNegativeFloat": (pydantic.NonNegativeFloat, "0"),
    "StrictInt": (pydantic.StrictInt, "1"),
    "StrictStr": (pydantic.StrictStr, '"a"'),
    "conint": (Annotated[int, Field(ge=1, le=5)], "3"),
    "confloat": (Annotated[float, Field(gt=0, lt=10)], "3"),
    "multiple_of": (Annotated[int, Field(multiple_of=3)], "3"),
    "constr": (Annotated[str, Field(min_length=2, max_length=5)], '"abc"'),
    "pattern": (Slug, '"a-b"'),
    "list[int]": (list[int], "[1]"),
    "conlist": (Annotated[list[int], Field(min_length=1, max_length=3)], "[1]"),
    "set[int]": (set[int], "[1]"),
    "frozenset[str]": (frozenset[str], '["a"]'),
    "deque[int]": (collections.deque[int], "[1]"),
    "Sequence[int]": (Sequence[int], "[1]"),
    "tuple[int, str]": (tuple[int, str], '[1, "a"]'),
    "tuple[int, ...]": (tuple[int, ...], "[1, 2]"),
    "NamedTuple": (Pair, '[1, "a"]'),
    "dict": (dict, '{"a": 1}'),
    "dict[str, int]": (dict[str, int], '{"a": 1}'),
    "dict[int, str]": (dict[int, str], '{"-1": "a"}'),
    "dict[float, int]": (dict[float, int], '{"0.5": 1}'),
    "dict[bool, int]": (dict[bool, int], '{"true": 1}'),
    "dict[Literal, int]": (dict[Literal["a", "b"], int], '{"a": 1}'),
    "dict[Enum, int]": (dict[Color, int], '{"red": 1}'),
    "dict[pattern, int]": (dict[Slug, int], '{"a-b": 1}'),
    "dict[constr, int]": (dict[Annotated[str, Field(min_length=2)], int], '{"ab": 1}'),
    "dict[date, int]": (dict[dt.date, int], '{"2024-02-29": 1}'),
    "dict[UUID, int]": (dict[uuid.UUID, int], '{"12345678-1234-1234-1234-123456789abc": 1}'),
    "dict[Decimal, int]": (dict[decimal.Decimal, int], '{"1.5": 1}'),
    "dict[Path, int]": (dict[pathlib.Path, int], '{"a/b": 1}'),
    "Mapping[str, int]": (Mapping[str, int], '{"a": 1}'),
    "OrderedDict": (collections.OrderedDict[str, int], '{"a": 1}'),
    "condict": (Annotated[dict[str, int], Field(min_length=1, max_length=3)], '{"a": 1}'),
    "Enum": (Color, '"red"'),
    "IntEnum": (Level, "1"),
    "mixed Enum": (Mixed, "2"),
    "Flag": (Bits, "1"),
    "Literal": (Literal["a", 1, True] | None, "1"),
    "Optional": (int | None, "null"),
    "union": (int | str, '"a"'),
    "discriminated union": (
        Annotated[Circle | Square, Field(discriminator="kind")],
        '{"kind": "square", "side": 97}',
    ),
    "model": (Point, '{"x": 1, "y": 2}'),
    "recursive model": (Tree, '{"value": 1, "children": [{"value": 2, "children": []}]}'),
    "TypedDict": (Movie, '{"title": "a", "year": 2000}'),
    "alias": (Renamed, '{"fullName": "a"}'),
    "open model": (Open, '{"a": 1}'),
    "generic model": (Box[list[int]], '{"content": [1]}'),
    "RootModel": (pydantic.RootModel[list[int]], "[1]"),
    "NewType": (NewType("UserId", int), "1"),
    "recursive alias": (Nested, '{"a": [1, {}]}'),
    "JsonValue": (pydantic.JsonValue, '{"a": [null]}'),
}
"""Types whose schema allows only texts that can be read."""

CHECKED: dict[str, tuple[Any, str]] = {
    "NaiveDatetime": (pydantic.NaiveDatetime, '"2024-02-28T10:00:00"'),
    "time": (dt.time, '"10:00:00Z"'),
    "timedelta": (dt.timedelta, '"P1DT2H"'),
    "PastDate": (pydantic.PastDate, '"2020-01-01"'),
    "FutureDate": (pydantic.FutureDate, '"2999-01-01"'),
    "FilePath": (pydantic.FilePath, f'"{__file__}"'),
    "DirectoryPath": (pydantic.DirectoryPath, '"/"'),
    "NewPath": (pydantic.NewPath, '"/no-such-file"'),
    "Base64Bytes": (pydantic.Base64Bytes, '"YQ=="'),
    "Base64UrlStr": (pydantic.Base64UrlStr, '"YQ=="'),
    "AnyUrl": (pydantic.AnyUrl, '"https://a.example/b"'),
    "HttpUrl": (pydantic.HttpUrl, '"https://a.example/b"'),
    "PostgresDsn": (pydantic.PostgresDsn, '"postgres://a.example/b"'),
    "IPv4Network": (ipaddress.IPv4Network, '"10.0.0.0/8"'),
    "IPv6Interface": (ipaddress.IPv6Interface, '"::1/64"'),
    "Pattern": (re.Pattern, '"a+"'),
    "Json[int]": (pydantic.Json[int], '"5"'),
    "ByteSize": (pydantic.ByteSize, '"5KB"'),
    "complex": (complex, '"1+2j"'),
    "Fraction": (fractions.Fraction, '"1/2"'),
    "ZoneInfo": (zoneinfo.ZoneInfo, '"UTC"'),
    "SecretDate": (pydantic.Secret[dt.date], '"2024-01-01"'),
    "Decimal": (decimal.Decimal, "1.5"),
    "bounds beyond 2^53": (Annotated[int, Field(ge=-(2**60), le=2**60)], "5"),
    "condecimal": (Annotated[decimal.Decimal, Field(max_digits=4, decimal_places=2)], "1.5"),
    "conbytes": (Annotated[bytes, Field(min_length=2)], '"ab"'),
    "conset": (Annotated[set[int], Field(min_length=2)], "[1, 2]"),
    "narrow open bound": (Annotated[float, Field(gt=0, le=0.5)], "0.5"),
    "costly multiples": (
        tuple[Annotated[int, Field(multiple_of=97)], Annotated[int, Field(multiple_of=89)]],
        "[97, 89]",
    ),
    "large multiple": (Annotated[int, Field(multiple_of=4999)], "4999"),
    "condict of many": (Annotated[dict[str, int], Field(min_length=3)], '{"a": 1, "b": 2, "c": 3}'),
    "condict of names": (Annotated[dict[Color, int], Field(min_length=2, max_length=2)], '{"red": 1, "blue": 2}'),
    "control characters": (Literal["a\x01", "b"], '"b"'),
    "large constant": (Literal[18446744073709551616], "18446744073709551616"),
    "everything": (
        Everything,
        """{"when": "2024-02-28T10:00:00", "files": ["a"], "by_id": {"1": "red"},
            "shapes": [{"kind": "circle", "radius": 0.5}], "price": 1.5, "secret": "a", "nested": {"a": ["b"]}}""",
    ),
}
"""Types with rules that no schema of a server can express; they are checked when the output is parsed."""
