"""`onward complete`, `models` and `health`, built on the Python client."""

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import cast

from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message

from onward.v1.model_service_pb2 import Model
from onward_client import TLS, Client, CompleteOptions, Completion, MessageDict, Messages, OnwardError
from onward_server.cli.prompt_input import UndecodablePrompt, read_prompt
from onward_server.cli.standard_streams import drop_unwritable_stdout, escape_unencodable_output
from onward_server.exit_code import ExitCode
from onward_server.file_errors import unreadable
from onward_server.sampling import PARAMETERS


def run(parsed: argparse.Namespace) -> int:
    """Runs the parsed subcommand and returns the exit code; a failure is printed to stderr in one line."""
    commands: Mapping[str, Callable[[argparse.Namespace, Client], int]] = {
        "complete": _complete,
        "models": _models,
        "health": _health,
    }
    escape_unencodable_output()
    try:
        with _client(parsed) as client:
            return commands[parsed.command](parsed, client)
    except BrokenPipeError:
        drop_unwritable_stdout()
    except OSError as error:
        _say(unreadable(Path(error.filename), error) if error.filename else str(error))
    except (OnwardError, UndecodablePrompt) as error:
        _say(str(error))
    return ExitCode.FAILED


def _client(parsed: argparse.Namespace) -> Client:
    key_file: Path | None = parsed.api_key_file
    api_key = _first_key(key_file.read_text(encoding="utf-8", errors="replace")) if key_file else parsed.api_key
    tls = None
    if parsed.tls_ca or parsed.tls_cert or parsed.tls_key:
        tls = TLS(ca=parsed.tls_ca, cert=parsed.tls_cert, key=parsed.tls_key)
    elif parsed.insecure:
        tls = False
    return Client(parsed.target, api_key=api_key or None, tls=tls, timeout=parsed.timeout)


def _first_key(text: str) -> str | None:
    """The first API key of a file like that of `--api-keys-file`: one key per line, `#` starts a comment."""
    return next((key for line in text.splitlines() if (key := line.partition("#")[0].strip())), None)


def _complete(parsed: argparse.Namespace, client: Client) -> int:
    model = client.model(parsed.model) if parsed.model else next(m for m in client.models() if m.is_default)
    is_raw = parsed.raw or not model.capabilities.chat
    if is_raw and parsed.system is not None:
        why = "--raw sends no messages" if parsed.raw else f"{model.id} has no chat template to render a system message"
        _say(f"--system: {why}; leave it out")
        return ExitCode.FAILED
    prompt: str = read_prompt() if parsed.prompt in {None, "-"} else parsed.prompt
    options = cast(CompleteOptions, {name: value for name, value in vars(parsed).items() if name in PARAMETERS})
    options["model"] = model.id
    messages: Messages | None = None
    if is_raw:
        options["prompt"] = prompt
        _say(f"sending raw text to {model.id}{'' if parsed.raw else ', which has no chat template'}")
    else:
        system = [] if parsed.system is None else [MessageDict(role="system", content=parsed.system)]
        messages = [*system, MessageDict(role="user", content=prompt)]
        _say(f"sending a message to {model.id}")
    completion = (_stream if parsed.stream else _complete_whole)(client, messages, options, as_json=parsed.json)
    usage = completion.usage
    _say(
        f"{completion.finish_reason}: {usage.prompt_tokens} prompt tokens, {usage.completion_tokens} completion tokens"
    )
    return ExitCode.OK


def _complete_whole(
    client: Client, messages: Messages | None, options: CompleteOptions, *, as_json: bool
) -> Completion:
    completion = client.complete(messages, **options)
    _write(_json(completion.proto) if as_json else f"{completion.text}\n")
    return completion


def _stream(client: Client, messages: Messages | None, options: CompleteOptions, *, as_json: bool) -> Completion:
    with client.stream(messages, **options) as stream:
        pieces: Iterable[str] = map(_json, stream) if as_json else stream.text
        for piece in pieces:
            _write(piece)
        if not as_json:
            _write("\n")
        return stream.final()


def _models(parsed: argparse.Namespace, client: Client) -> int:
    for model in client.models():
        _write(_json(model) if parsed.json else f"{_model_line(model)}\n")
    return ExitCode.OK


def _model_line(model: Model) -> str:
    notes = [
        f"{model.context_length} tokens",
        "messages" if model.capabilities.chat else "raw text only",
        model.precision,
        model.execution_provider,
        *([f"tool format {model.tool_format}"] if model.tool_format else []),
        *([f"reasoning format {model.reasoning_format}"] if model.reasoning_format else []),
        *(["default"] if model.is_default else []),
    ]
    return f"{model.id}: {', '.join(notes)}"


def _health(parsed: argparse.Namespace, client: Client) -> int:
    is_serving = client.health(parsed.service, max_retries=0)
    _write("SERVING\n" if is_serving else "NOT_SERVING\n")
    return ExitCode.OK if is_serving else ExitCode.FAILED


def _json(message: Message) -> str:
    return MessageToJson(message, indent=None, preserving_proto_field_name=True, ensure_ascii=False) + "\n"


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _say(line: str) -> None:
    sys.stderr.write(f"onward: {line}\n")
