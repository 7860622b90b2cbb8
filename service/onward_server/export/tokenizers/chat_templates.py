"""The chat templates of a GGUF file, as the files that a model folder holds them in."""

import re
from collections.abc import Mapping

from onward_server.errors import ExportError
from onward_server.export.tokenizers.metadata import CHAT_TEMPLATE, TokenizerMetadata

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def chat_template_files(metadata: TokenizerMetadata) -> Mapping[str, str]:
    """The templates by the path of their file, without empty ones.

    Raises:
        ExportError: A template is not a string, or its name cannot be a file name.
    """
    files: dict[str, str] = {}
    if default := metadata.text(CHAT_TEMPLATE):
        files["chat_template.jinja"] = default
    for key in metadata.values:
        if key.startswith(f"{CHAT_TEMPLATE}."):
            name = key.removeprefix(f"{CHAT_TEMPLATE}.")
            if not _NAME.fullmatch(name):
                raise ExportError(f"{key}: {name!r} cannot be a file name; use letters, digits, `_` and `-`")
            if template := metadata.text(key):
                files[f"additional_chat_templates/{name}.jinja"] = template
    return files
