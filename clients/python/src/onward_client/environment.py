"""The environment variables of the client; no other module reads them."""

import os
from collections.abc import Iterable


def target() -> str | None:
    """Returns the target that ONWARD_TARGET sets; None if it is unset or empty."""
    return os.environ.get("ONWARD_TARGET") or None


def api_key() -> str | None:
    """Returns the API key that ONWARD_API_KEY sets; None if it is unset or empty."""
    return os.environ.get("ONWARD_API_KEY") or None


def first_of(names: Iterable[str]) -> tuple[str, str] | None:
    """Returns the first of these variables that is not empty, with its value; None if all are."""
    return next(((name, value) for name in names if (value := os.environ.get(name))), None)
