"""Rejects unknown keywords, with advice."""

from collections.abc import Mapping
from difflib import get_close_matches

_ADVICE = {
    "stream": "call `stream(...)` instead of `complete(...)`",
    "stream_options": "leave it out; a stream always ends with the usage",
    "functions": "use `tools`",
    "function_call": "use `tool_choice`",
    "extra_headers": "use `headers`",
    "extra_body": "each option is a keyword of its own",
    "random_seed": "use `seed`",
    "max_new_tokens": "use `max_tokens`",
    "max_output_tokens": "use `max_tokens`",
    "num_predict": "use `max_tokens`",
    "stop_sequences": "use `stop`",
    "system": "put `system(...)` before the other messages",
    "instructions": "put `system(...)` before the other messages",
    "input": "pass the messages as the first argument",
    "best_of": "use `n`",
    "guided_json": "use `response_format`",
    "guided_regex": "use `response_format`",
    "guided_choice": "use `response_format`",
    "guided_grammar": "use `response_format`",
    "format": "use `response_format`",
    "text_format": "use `parse(...)` or `response_format`",
    "timeout_ms": "use `timeout`, in seconds",
    "timeout_s": "use `timeout`",
    "deadline": "use `timeout`",
    "retries": "use `max_retries`",
    "retry_config": "use `max_retries`",
    "base_url": "pass `host:port` as the first argument",
    "server_url": "pass `host:port` as the first argument",
    "url": "pass `host:port` as the first argument",
    "host": "pass `host:port` as the first argument",
    "address": "pass `host:port` as the first argument",
    "default_headers": "use `headers`",
    "insecure": "use `tls=False`",
    "secure": "use `tls`",
    "credentials": "use `tls`",
    "options": "use `channel_options`",
}
"""Keywords of other clients, and what to do instead."""


def check_names(options: Mapping[str, object], known: frozenset[str]) -> None:
    """Rejects unknown keywords, and suggests the nearest known one.

    Raises:
        TypeError: As Python raises it for an unknown keyword argument.
    """
    for name in options:
        if name not in known:
            close = get_close_matches(name, known, n=1)
            advice = _ADVICE.get(name) or (f"did you mean {close[0]!r}?" if close else "")
            raise TypeError(f"unexpected keyword argument {name!r}{'; ' if advice else ''}{advice}")
