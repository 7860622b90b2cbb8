"""The formats of strings that can be enforced, each a pattern that lets in nothing else; it knows no schema."""

_YEAR = "(?:[0-9]{3}[1-9]|[0-9]{2}[1-9]0|[0-9][1-9]00|[1-9]000)"
_LEAP_YEAR = "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)"
_LONG_MONTH, _SHORT_MONTH = "(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])", "(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
_DATE = f"(?:{_YEAR}-(?:{_LONG_MONTH}|{_SHORT_MONTH}|02-(?:0[1-9]|1[0-9]|2[0-8]))|{_LEAP_YEAR}-02-29)"
_OFFSET = r"(?:Z|[+\-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
_TIME = rf"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]+)?{_OFFSET}"

_SECONDS = "[0-9]+S"
_MINUTES = f"[0-9]+M(?:{_SECONDS})?"
_CLOCK = f"T(?:[0-9]+H(?:{_MINUTES})?|{_MINUTES}|{_SECONDS})"
_MONTHS = "[0-9]+M(?:[0-9]+D)?"
_DURATION = f"P(?:[0-9]+W|(?:[0-9]+Y(?:{_MONTHS})?|{_MONTHS}|[0-9]+D)(?:{_CLOCK})?|{_CLOCK})"

_LABEL = "[a-zA-Z0-9](?:[a-zA-Z0-9\\-]{0,61}[a-zA-Z0-9])?"
_HOST = rf"{_LABEL}(?:\.{_LABEL})*"
_EMAIL = rf"[a-zA-Z0-9_+\-]{{1,31}}(?:\.[a-zA-Z0-9_+\-]{{1,31}})?@{_HOST}"
_BYTE = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_GROUP = "[0-9a-fA-F]{1,4}"
_SHORTENED = "|".join(f"(?:{_GROUP}:){{1,{6 - count}}}(?::{_GROUP}){{1,{count + 1}}}" for count in range(6))
_IPV6 = f"(?:(?:{_GROUP}:){{7}}{_GROUP}|(?:{_GROUP}:){{1,7}}:|{_SHORTENED}|:(?:(?::{_GROUP}){{1,7}}|:))"
_HEX = "[0-9a-fA-F]"

_CHARACTER = r"(?:[a-zA-Z0-9\-._~!$&'()*+,;=:@]|%[0-9a-fA-F]{2})"
_PATH = f"(?:/{_CHARACTER}*)*"
_TAIL = rf"(?:\?(?:{_CHARACTER}|[/?])*)?(?:#(?:{_CHARACTER}|[/?])*)?"
_URI = rf"[a-zA-Z][a-zA-Z0-9+\-.]*:(?://(?:{_HOST}(?::[0-9]{{1,5}})?)?{_PATH}|{_CHARACTER}+{_PATH}){_TAIL}"

# A compiler's own patterns let in 30 days of February less one, the year 0 and leap seconds at any time; and text that
# is not JSON can be bound by patterns only.
PATTERNS = {
    "date": f"^{_DATE}$",
    "time": f"^{_TIME}$",
    "date-time": f"^{_DATE}T{_TIME}$",
    "duration": f"^{_DURATION}$",
    "email": f"^{_EMAIL}$",
    "hostname": f"^{_HOST}$",
    "ipv4": rf"^{_BYTE}(?:\.{_BYTE}){{3}}$",
    "ipv6": f"^{_IPV6}$",
    "uri": f"^{_URI}$",
    "uuid": f"^{_HEX}{{8}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{12}}$",
}
MAX_LENGTHS = {"hostname": 253, "email": 254}
