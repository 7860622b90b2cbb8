"""The string formats that can be enforced, as patterns that match only valid strings.

They replace llguidance's own, which allow February 29 in every year, the year 0 and leap seconds at any time. They also
serve notations other than JSON.
"""

_YEAR = "(?:[0-9]{3}[1-9]|[0-9]{2}[1-9]0|[0-9][1-9]00|[1-9]000)"
_LEAP_YEAR = "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)"
_DAY = "(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)"
_DATE = f"(?:{_YEAR}-{_DAY}|{_LEAP_YEAR}-02-29)"
_OFFSET = r"(?:[Zz]|[+\-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
_TIME = rf"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]+)?{_OFFSET}"

_SECONDS = "[0-9]+S"
_MINUTES = f"[0-9]+M(?:{_SECONDS})?"
_CLOCK = f"T(?:[0-9]+H(?:{_MINUTES})?|{_MINUTES}|{_SECONDS})"
_MONTHS = "[0-9]+M(?:[0-9]+D)?"
_DURATION = f"P(?:[0-9]+W|(?:[0-9]+Y(?:{_MONTHS})?|{_MONTHS}|[0-9]+D)(?:{_CLOCK})?|{_CLOCK})"

# RFC 5890: `--` as the third and fourth characters is reserved for punycode, which no pattern can check.
_ALNUM, _INNER = "[a-zA-Z0-9]", r"[a-zA-Z0-9\-]"
_LONG_LABEL = rf"{_INNER}(?:{_ALNUM}(?:{_INNER}{{0,59}}{_ALNUM})?|-{_ALNUM}(?:{_INNER}{{0,58}}{_ALNUM})?)"
_LABEL = f"{_ALNUM}(?:{_ALNUM}|{_LONG_LABEL})?"
_HOST = rf"{_LABEL}(?:\.{_LABEL})*"
_ATOM = r"a-zA-Z0-9!#$%&'*+\-/=?\^_`{|}~"
_NON_ASCII = r"\x{80}-\x{d7ff}\x{e000}-\x{10ffff}"

_BYTE = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4 = rf"{_BYTE}(?:\.{_BYTE}){{3}}"
_GROUP = "[0-9a-fA-F]{1,4}"
_SHORTENED = "|".join(f"(?:{_GROUP}:){{1,{6 - count}}}(?::{_GROUP}){{1,{count + 1}}}" for count in range(6))
_FROM_COLON = f":(?:(?::{_GROUP}){{1,7}}|:)|::(?:{_GROUP}:){{0,5}}{_IPV4}"
_IPV6 = f"(?:(?:{_GROUP}:){{7}}{_GROUP}|(?:{_GROUP}:){{1,7}}:|{_SHORTENED}|{_FROM_COLON})"
_HEX = "[0-9a-fA-F]"

# RFC 3987: the non-ASCII characters that an IRI allows.
_PLANES = "".join(rf"\x{{{plane:x}0000}}-\x{{{plane:x}fffd}}" for plane in range(1, 14))
_IRI = rf"\x{{a0}}-\x{{d7ff}}\x{{f900}}-\x{{fdcf}}\x{{fdf0}}-\x{{ffef}}{_PLANES}"
_POINTER = r"(?:/(?:[[^/~]--\x00]|~[01])*)*"


def _dot_atom(atom: str) -> tuple[str, str]:
    """RFC 5321: a dot-atom of at most 64 characters, `@` and a host."""
    return rf"^[{atom}]+(?:\.[{atom}]+)*@{_HOST}$", f"^[{atom}.]{{1,64}}@"


def _uri(further: str, *, is_reference: bool) -> str:
    """RFC 3986. `further`: the allowed non-ASCII characters. `is_reference`: the scheme may be missing."""
    plain = rf"a-zA-Z0-9\-._~!$&'()*+,;={further}"
    escape = "%[0-9a-fA-F]{2}"
    segment = f"(?:[{plain}:@]|{escape})"
    path = f"(?:/{segment}*)*"
    literal = rf"\[(?:{_IPV6}|v{_HEX}+\.[a-zA-Z0-9\-._~!$&'()*+,;=:]+)\]"
    authority = f"(?:(?:[{plain}:]|{escape})*@)?(?:{literal}|(?:[{plain}]|{escape})*)(?::[0-9]*)?"
    tail = rf"(?:\?(?:{segment}|[/?])*)?(?:#(?:{segment}|[/?])*)?"
    absolute = f"//{authority}{path}|/(?:{segment}+{path})?"
    uri = rf"[a-zA-Z][a-zA-Z0-9+\-.]*:(?:{absolute}|{segment}+{path}|){tail}"
    relative = f"(?:{absolute}|(?:[{plain}@]|{escape})+{path}|){tail}"
    return f"^(?:{uri}|{relative})$" if is_reference else f"^{uri}$"


PATTERNS: dict[str, tuple[str, ...]] = {
    "date": (f"^{_DATE}$",),
    "date-time": (f"^{_DATE}[Tt]{_TIME}$",),
    "duration": (f"^{_DURATION}$",),
    "email": _dot_atom(_ATOM),
    "hostname": (f"^{_HOST}$",),
    "idn-email": _dot_atom(_ATOM + _NON_ASCII),
    "idn-hostname": (f"^{_HOST}$",),
    "ipv4": (f"^{_IPV4}$",),
    "ipv6": (f"^{_IPV6}$",),
    "iri": (_uri(_IRI, is_reference=False),),
    "iri-reference": (_uri(_IRI, is_reference=True),),
    "json-pointer": (f"^{_POINTER}$",),
    "relative-json-pointer": (f"^(?:0|[1-9][0-9]*)(?:#|{_POINTER})$",),
    "time": (f"^{_TIME}$",),
    "uri": (_uri("", is_reference=False),),
    "uri-reference": (_uri("", is_reference=True),),
    "uuid": (f"^{_HEX}{{8}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{12}}$",),
}
"""All patterns of a format must match."""
MAX_LENGTHS = {"hostname": 253, "idn-hostname": 253, "email": 254, "idn-email": 254}
FORMAT_PATTERNS = frozenset(pattern for patterns in PATTERNS.values() for pattern in patterns)
