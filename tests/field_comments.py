"""The comments of the messages and fields in proto/, by name, such as `SamplingParams.top_p`."""

import re
from pathlib import Path

_PROTO = Path(__file__).parents[1] / "proto/onward/v1"
_COMMENT = re.compile(r"\s*// ?(.*)")
_OPENING = re.compile(r"\s*(message|enum|oneof|service) (\w+) \{")
_FIELD = re.compile(r"\s*(?:optional |repeated )?[\w.<>, ]+ (\w+) = \d+;")


def field_comments() -> dict[str, str]:
    """Each comment as one line. A field of a oneof is named by the message around it, as in the descriptors."""
    comments: dict[str, str] = {}
    for path in sorted(_PROTO.glob("*.proto")):
        scopes: list[tuple[str, str]] = []
        pending: list[str] = []
        for line in path.read_text(encoding="utf-8").splitlines():
            if comment := _COMMENT.fullmatch(line):
                pending.append(comment[1])
                continue
            if opening := _OPENING.match(line):
                scopes.append((opening[1], opening[2]))
                comments[_name(scopes)] = " ".join(pending)
            elif field := _FIELD.match(line):
                comments[_name([*scopes, ("field", field[1])])] = " ".join(pending)
            if line.rstrip().endswith("}") and scopes:
                scopes.pop()
            pending = []
    return comments


def _name(scopes: list[tuple[str, str]]) -> str:
    return ".".join(name for kind, name in scopes if kind != "oneof")
