"""The table of sampling parameters agrees with `SamplingParams` of the protocol."""

import math

import pytest
from google.protobuf.descriptor import FieldDescriptor

from onward.v1.sampling_pb2 import SamplingParams as Message
from onward_server.sampling import PARAMETERS, Range, SamplingParams, override

FIELDS = Message.DESCRIPTOR.fields_by_name
SCALAR_TYPES = {
    FieldDescriptor.TYPE_DOUBLE: float,
    FieldDescriptor.TYPE_INT32: int,
    FieldDescriptor.TYPE_INT64: int,
    FieldDescriptor.TYPE_BOOL: bool,
    FieldDescriptor.TYPE_STRING: str,
}


def value_type(name: str) -> object:
    """The Python type of a field's value, with a map as a tuple of pairs."""
    field = FIELDS[name]
    if field.message_type is not None:
        key, value = (SCALAR_TYPES[entry.type] for entry in field.message_type.fields)
        return tuple[tuple[key, value], ...]
    scalar = SCALAR_TYPES[field.type]
    return tuple[scalar, ...] if field.is_repeated else scalar


def test_the_parameters_are_the_fields_of_the_protocol_in_their_order() -> None:
    assert list(PARAMETERS) == [field.name for field in Message.DESCRIPTOR.fields]


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_parameter_has_the_type_of_its_field(name: str) -> None:
    assert PARAMETERS[name].value_type == value_type(name)


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_number_has_a_range_and_a_list_has_a_limit(name: str) -> None:
    parameter = PARAMETERS[name]
    assert (parameter.max_items is not None) == FIELDS[name].is_repeated
    assert (parameter.range is not None) == (parameter.value_type in (float, int) and name != "seed")


@pytest.mark.parametrize("name", [name for name, parameter in PARAMETERS.items() if parameter.range])
def test_the_neutral_value_is_allowed(name: str) -> None:
    allowed = PARAMETERS[name].range
    assert allowed is not None
    assert getattr(SamplingParams(max_tokens=1, seed=0), name) in allowed


def test_the_last_override_wins_and_unset_parameters_stay() -> None:
    params = SamplingParams(max_tokens=5, seed=1, min_p=0.5)
    changed = override(params, {"temperature": 0.1, "top_k": 3}, {"temperature": 0})
    assert changed == SamplingParams(max_tokens=5, seed=1, min_p=0.5, temperature=0, top_k=3)


@pytest.mark.parametrize(
    ("interval", "text", "inside", "outside"),
    [
        (Range(0, 2), "[0, 2]", [0, 2, 1.5], [-0.1, 2.1, math.nan]),
        (Range(0, 1, excludes_low=True), "(0, 1]", [1e-9, 1], [0, 1.1]),
        (Range(1), "[1, inf)", [1, 2**70], [0, math.inf, math.nan]),
    ],
    ids=str,
)
def test_a_range_holds_its_bounds_and_no_number_beyond(
    interval: Range, text: str, inside: list[float], outside: list[float]
) -> None:
    assert str(interval) == text
    assert [value in interval for value in inside] == [True] * len(inside)
    assert [value in interval for value in outside] == [False] * len(outside)
