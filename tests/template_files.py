"""Chat templates of our own, with the features and traps of the families, and their expected renderings."""

import hashlib
from pathlib import Path

TEMPLATES = Path(__file__).parent / "data/templates"
FORMAT_TEMPLATES = Path(__file__).parent / "data/format_templates"
"""Minimal templates, each with the name of the tool format that it renders."""
RENDERINGS = Path(__file__).parent / "data/renderings"
"""Of each template, by conversation: its text, the hash of a long one, or null where the template raises."""

_LONGEST_TEXT = 6000


def template_names() -> list[str]:
    """All of them, in alphabetical order."""
    return sorted(path.stem for path in TEMPLATES.glob("*.jinja"))


def template_source(name: str) -> str:
    """The text of a template of ours."""
    folder = TEMPLATES if (TEMPLATES / f"{name}.jinja").exists() else FORMAT_TEMPLATES
    return (folder / f"{name}.jinja").read_text(encoding="utf-8")


def text_or_hash(text: str) -> str:
    """The text, or `sha256:…` where that is shorter by far."""
    return text if len(text) <= _LONGEST_TEXT else f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
