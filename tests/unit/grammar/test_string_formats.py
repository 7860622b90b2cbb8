"""String formats: usual values are allowed, and all sampled values are valid."""

import json
import re
from datetime import date, datetime
from ipaddress import IPv4Address, IPv6Address
from uuid import UUID
from zlib import crc32

import pytest
from jsonschema import Draft202012Validator

from onward_server.domain import JsonSchemaFormat
from onward_server.grammar.schema.string_formats import PATTERNS
from testing.sampling import RandomSampler

_LABEL = re.compile(r"(?!..--)(?!-)[A-Za-z0-9-]{1,63}(?<!-)")
_READERS = {
    "date": date.fromisoformat,
    "date-time": datetime.fromisoformat,
    "ipv4": IPv4Address,
    "ipv6": IPv6Address,
    "uuid": UUID,
}
VALID = {
    "date": ["2024-02-29", "2000-02-29", "2026-11-30", "0001-01-01"],
    "date-time": ["2026-11-30T15:00:00Z", "2026-11-30T15:00:00.123+05:30", "2026-11-30t15:00:00z"],
    "duration": ["P1D", "PT5M30S", "P2W", "P1Y2M3DT4H"],
    "email": ["a.b.c@x.com", "o'brien@x.com", "john+tag@mail.example.org", f"{'a' * 64}@x.com", "a@localhost"],
    "hostname": ["example.com", "a", "x1-2.y", "a--b.com", f"{'a' * 63}.de", "1.2.3.x"],
    "idn-email": ["a.b.c@x.com", "müller@x.com"],
    "idn-hostname": ["example.com"],
    "ipv4": ["127.0.0.1", "255.255.255.255"],
    "ipv6": ["::", "::1", "2001:db8::1", "1:2:3:4:5:6:7:8", "::ffff:192.0.2.1"],
    "iri": ["https://example.com/ä?q=ö#ü", "http://müller.de"],
    "iri-reference": ["/ä", "https://example.com/ä"],
    "json-pointer": ["", "/a~1b/0/~0", "/ä/"],
    "relative-json-pointer": ["0", "1/a", "2#"],
    "time": ["15:00:00Z", "15:00:00z", "00:00:00.5-08:00"],
    "uri": [
        "ssh://git@github.com/a/b.git",
        "postgres://user:pass@host:5432/db",
        "http://[2001:db8::1]/x",
        "https://example.com:8080/a%20b?x=1&y=2#top",
        "mailto:a@x.com",
        "urn:isbn:0451450523",
        "file:///etc/hosts",
        "a:",
    ],
    "uri-reference": ["/a/b", "../x?y#z", "https://example.com", "", "//host/x"],
    "uuid": ["123e4567-e89b-12d3-a456-426614174000"],
}
INVALID = {
    "date": ["2023-02-29", "1900-02-29", "0000-01-01", "2024-02-30", "2024-04-31", "2024-13-01", "2024-00-10"],
    "date-time": ["2026-11-30T15:00:60Z", "2026-11-30", "2023-02-29T00:00:00Z", "2026-11-30T24:00:00Z"],
    "duration": ["P", "PT", "P1D2W"],
    "email": [".a@x.com", "a..b@x.com", "a.@x.com", "a@-x.com", "a@x_y.com", f"{'a' * 65}@x.com", "a b@x.com", "a@"],
    "hostname": ["-a", "a-", "xn--X", "ab--c", "a..b", "a_b", f"{'a' * 64}", "a." * 127 + "ab", ""],
    "idn-email": ["a@ab--c.com", "a b@x.com"],
    "idn-hostname": ["ab--c"],
    "ipv4": ["256.0.0.1", "1.2.3", "01.2.3.4"],
    "ipv6": ["1:2:3:4:5:6:7", "1::2::3", "::ffff:1.2.3.256", ":1"],
    "iri": ["/ä", "http://a b"],
    "iri-reference": ["a b", "\\\\x"],
    "json-pointer": ["a", "/~2", "/~"],
    "relative-json-pointer": ["01/a", "-1", "a"],
    "time": ["24:00:00Z", "15:00:60Z", "15:00:00"],
    "uri": ["/a/b", "http://[::1", "http://a b", "http://x/%zz", "1a:b", "http://x/<>"],
    "uri-reference": ["a b", "1:2\\", "%"],
    "uuid": ["123e4567e89b12d3a456426614174000", "g23e4567-e89b-12d3-a456-426614174000"],
}


@pytest.fixture(scope="module")
def sampler() -> RandomSampler:
    return RandomSampler.small()


def schema_of(name: str) -> JsonSchemaFormat:
    return JsonSchemaFormat(schema=json.dumps({"type": "string", "format": name}))


def is_valid(name: str, text: str) -> bool:
    """Whether a text is valid by jsonschema's checker, Python's parsers and, for hosts, RFC 5890."""
    checker = Draft202012Validator.FORMAT_CHECKER
    if not Draft202012Validator({"format": name}, format_checker=checker).is_valid(text):  # pyright: ignore[reportUnknownMemberType]
        return False
    if name in ("hostname", "idn-hostname", "email"):
        host = text.rpartition("@")[2]
        return len(host) <= 253 and all(_LABEL.fullmatch(label) for label in host.split("."))
    try:
        _READERS.get(name, str)(text[:19] if name == "date-time" else text)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("name", PATTERNS)
def test_usual_values_are_allowed_and_invalid_ones_are_not(sampler: RandomSampler, name: str) -> None:
    grammar = sampler.compile(schema_of(name))
    texts = VALID[name] + INVALID[name]
    assert [text for text in texts if sampler.allows(grammar, json.dumps(text, ensure_ascii=False))] == VALID[name]


@pytest.mark.parametrize("name", PATTERNS)
def test_sampled_values_are_valid(sampler: RandomSampler, name: str) -> None:
    grammar = sampler.compile(schema_of(name))
    outputs = [sampler.sample(grammar, seed=crc32(name.encode()) + index, max_tokens=600) for index in range(30)]
    texts = [str(json.loads(output.text)) for output in outputs if not output.is_truncated]
    assert texts
    assert [text for text in texts if not is_valid(name, text)] == []
