"""Validates JSON with the jsonschema package, exact decimal numbers and the formats that the service enforces."""

import json
import re
from datetime import date, datetime
from decimal import Decimal, InvalidOperation, localcontext
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Any
from urllib.parse import urlsplit

from jsonschema import Draft201909Validator, Draft202012Validator, FormatChecker
from jsonschema.protocols import Validator
from jsonschema.validators import validator_for

_DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_TIME = r"([0-9]{2}):([0-9]{2}):([0-9]{2})(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})"
_DURATION = re.compile(
    r"P(?!\Z)(?:[0-9]+W|(?:[0-9]+Y)?(?:[0-9]+M)?(?:[0-9]+D)?(?:T(?=[0-9])(?:[0-9]+H)?(?:[0-9]+M)?(?:[0-9]+S)?)?)"
)
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LOCAL = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")
_CHARACTER = r"(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})"
_AUTHORITY = rf"(?:{_CHARACTER}*@)?(?:\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{{2}})*)(?::[0-9]*)?"
_URI = re.compile(
    rf"[A-Za-z][A-Za-z0-9+.-]*:(?://{_AUTHORITY}(?:/{_CHARACTER}*)*|/?(?:{_CHARACTER}+(?:/{_CHARACTER}*)*)?)"
    rf"(?:\?(?:{_CHARACTER}|[/?])*)?(?:#(?:{_CHARACTER}|[/?])*)?"
)
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

FORMATS = FormatChecker(formats=())
"""The formats below, read by other code than the service's."""


@FORMATS.checks("date", raises=ValueError)
def _is_date(value: object) -> bool:
    return not isinstance(value, str) or bool(re.fullmatch(_DATE, value) and date.fromisoformat(value))


@FORMATS.checks("time", raises=ValueError)
def _is_time(value: object) -> bool:
    return not isinstance(value, str) or _is_clock_time(value)


@FORMATS.checks("date-time", raises=ValueError)
def _is_date_time(value: object) -> bool:
    if not isinstance(value, str):
        return True
    day, _, time = value.upper().partition("T")
    return _is_date(day) and _is_clock_time(time)


@FORMATS.checks("duration")
def _is_duration(value: object) -> bool:
    return not isinstance(value, str) or bool(_DURATION.fullmatch(value))


@FORMATS.checks("hostname")
def _is_hostname(value: object) -> bool:
    if not isinstance(value, str):
        return True
    return len(value) <= 253 and bool(_HOST.fullmatch(value)) and all(map(_is_label, value.split(".")))


@FORMATS.checks("email")
def _is_email(value: object) -> bool:
    if not isinstance(value, str):
        return True
    local, _, domain = value.rpartition("@")
    return len(local) <= 64 and bool(_LOCAL.fullmatch(local)) and _is_hostname(domain)


@FORMATS.checks("uri", raises=ValueError)
def _is_uri(value: object) -> bool:
    if not isinstance(value, str):
        return True
    parts = urlsplit(value)
    host = parts.netloc.rpartition("@")[2].rpartition("]")[0].removeprefix("[")
    return bool(_URI.fullmatch(value)) and (not host or bool(IPv6Address(host))) and (parts.port or 0) >= 0


@FORMATS.checks("uuid")
def _is_uuid(value: object) -> bool:
    return not isinstance(value, str) or bool(_UUID.fullmatch(value))


@FORMATS.checks("ipv4", raises=AddressValueError)
def _is_ipv4(value: object) -> bool:
    return not isinstance(value, str) or bool(IPv4Address(value).exploded)


@FORMATS.checks("ipv6", raises=AddressValueError)
def _is_ipv6(value: object) -> bool:
    return not isinstance(value, str) or ("%" not in value and bool(IPv6Address(value).exploded))


def schema_validator(schema: Any) -> Validator:  # noqa: ANN401  JSON of any kind
    """The validator of the draft that a schema names, else of 2020-12, or of 2019-09 where `items` is a list."""
    text = json.dumps(schema)
    exact_schema = _exact(text)
    default = Draft201909Validator if '"items": [' in text else Draft202012Validator
    return validator_for(exact_schema, default=default)(exact_schema, format_checker=FORMATS)


def complaint(validator: Validator, text: str) -> str | None:
    """The first reason why a text is not JSON of a schema; None if it is."""
    try:
        value = _exact(text)
    except ValueError as error:
        return f"no JSON: {error}"
    with localcontext(prec=4000):
        return next((error.message for error in validator.iter_errors(value)), None)  # pyright: ignore[reportUnknownMemberType]


def _is_label(label: str) -> bool:
    """Hyphens in places 3 and 4 announce punycode."""
    if label[2:4] != "--":
        return True
    try:
        return label[:2].lower() == "xn" and bool(label[4:].encode().decode("punycode"))
    except UnicodeError:
        return False


def _is_clock_time(text: str) -> bool:
    """A time of RFC 3339; a leap second is at 23:59:60 UTC."""
    match = re.fullmatch(_TIME, text)
    if match is None:
        return False
    hour, minute, second, _, offset = match.groups()
    if second == "60":
        moment = datetime.fromisoformat(f"2000-06-15T{hour}:{minute}:59{offset.upper()}")
        return moment.astimezone(datetime.fromisoformat("2000-01-01T00:00Z").tzinfo).strftime("%H:%M") == "23:59"
    return bool(datetime.fromisoformat(f"2000-06-15T{hour}:{minute}:{second}{offset.upper()}"))


def _exact(text: str) -> Any:  # noqa: ANN401  JSON of any kind
    return json.loads(text, parse_float=_decimal)


def _decimal(text: str) -> Decimal | float:
    """Exact, but for what is too large to calculate with."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        return float(text)
    return number if abs(number.adjusted()) < 1000 else float(text)
