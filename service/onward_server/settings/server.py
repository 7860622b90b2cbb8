"""Every setting of `onward serve`: environment variables, flags and docs/settings.md are derived from `Settings`."""

import ipaddress
from argparse import Action, ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, CliApp, CliSettingsSource, NoDecode, SettingsConfigDict

_PACKAGE = Path(__file__).resolve().parents[1]
_EMBEDDED_MODEL_FOLDERS = (_PACKAGE / "pocket", _PACKAGE.parents[1] / "models" / "pocket" / "served")
"""Where the embedded model lies: beside the code once installed, where it is made in a checkout."""

MIB = 1 << 20

_METAVARS = {
    "--model": "[ID=]DIR",
    "tuple[str,...]": "[ID=]NAME",
    "str": "ADDRESS",
    "int": "N",
    "float": "X",
    "Path": "FILE",
}
"""What help calls a value, by flag or else by type."""


class Settings(BaseSettings):
    """Settings of `onward serve`, read once and passed down as values."""

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(
        env_prefix="ONWARD_",
        env_ignore_empty=True,
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_hide_none_type=True,
        cli_avoid_json=True,
    )

    model: Annotated[tuple[str, ...], NoDecode] = ()
    """Model folder to serve, `DIR` or `ID=DIR`; repeat it (or separate with commas) for more, the first is the
    default. Without it the embedded model is served."""
    tool_format: Annotated[tuple[str, ...], NoDecode] = ()
    """Format of tool calls, `NAME` for all models or `ID=NAME` for one; repeat it (or separate with commas) for more.
    `none` takes calls as text; a wrong name is answered with the right ones. Unset: the chat template tells."""
    reasoning_format: Annotated[tuple[str, ...], NoDecode] = ()
    """Format of reasoning, given as `tool_format` is. `none` takes reasoning as text, but under the tool format
    `harmony`, which reads both. Unset: the chat template tells."""
    listen: str = "127.0.0.1:50051"
    """Address to listen on: `HOST:PORT`, `[IPV6]:PORT` or `unix:PATH`. Port 0 picks a free one."""
    execution_provider: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the model runs. `auto` takes a CUDA device that can run it, else the CPU; `cuda` then refuses to start."""
    device_id: int = Field(default=0, ge=0)
    """Which CUDA device."""
    threads: int | None = Field(default=None, ge=1, le=1024)
    """CPU threads of one forward pass. Unset: the processors this process may use."""
    spinning: bool = True
    """Let idle worker threads spin between operators: quicker steps, more processor time."""
    slots: int = Field(default=8, ge=1, le=1024)
    """Sequences decoded together; each owns one KV slot, allocated at start."""
    context_length: int = Field(default=4096, ge=2)
    """Cap on prompt and answer together, in tokens; a model's own limit is used where it is lower."""
    max_queue: int = Field(default=64, ge=0)
    """Answers (choices) that may wait for a slot; when as many wait, requests are refused with RESOURCE_EXHAUSTED."""
    prefill_chunk: int = Field(default=512, ge=2)
    """Most prompt tokens that one step reads, in tokens."""
    step_target_ms: float = Field(default=100.0, gt=0, le=60_000)
    """Aimed length of a step that reads a prompt while others decode, in milliseconds."""
    max_deadline_s: float = Field(default=600.0, gt=0, le=86_400)
    """Longest time a call may take, in seconds: later deadlines are cut to it, a call without one gets it."""
    drain_timeout_s: float = Field(default=30.0, ge=0, le=3600)
    """Time that running calls get to finish after SIGTERM, in seconds."""
    max_message_bytes: int = Field(default=16 * MIB, ge=1024, le=1024 * MIB)
    """Largest message in either direction, in bytes."""
    tls_cert: Path | None = None
    """PEM file with the server's certificate chain; turns TLS on."""
    tls_key: Path | None = None
    """PEM file with the private key of `tls_cert`."""
    tls_client_ca: Path | None = None
    """PEM file with the authorities that clients' certificates must come from; turns mutual TLS on."""
    api_keys_file: Path | None = None
    """File with one API key a line, `#` starts a comment. Every call but health then needs
    `authorization: Bearer KEY`."""
    insecure: bool = False
    """Listen beyond loopback without TLS, or without keys or client certificates."""
    reflection: bool = True
    """Answer gRPC reflection, so that tools can list services."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe log lines to write."""
    log_format: Literal["text", "json"] = "text"
    """Form of the log lines on standard error."""

    @field_validator("model", "tool_format", "reasoning_format", mode="before")
    @classmethod
    def _split_at_commas(cls, value: object) -> object:
        """Takes `a,b` from the environment and, already joined so, repeated flags from the command line."""
        if not isinstance(value, str):
            return value
        return tuple(stripped for part in value.split(",") if (stripped := part.strip()))

    @field_validator("model")
    @classmethod
    def _check_model_ids(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        ids = [_model_id_and_folder(source)[0] for source in value]
        for model_id in ids:
            if not model_id or not model_id.isprintable() or " " in model_id:
                raise ValueError(f"{model_id!r} is not a model id; name it with ID=DIR")
            if ids.count(model_id) > 1:
                raise ValueError(f"two models are called {model_id!r}; name them with ID=DIR")
        return value

    @field_validator("listen")
    @classmethod
    def _check_listen(cls, value: str) -> str:
        if value.startswith("unix:") and len(value) > len("unix:"):
            return value
        host, colon, port = value.rpartition(":")
        bare_ipv6 = ":" in host and not host.startswith("[")
        if not (host and colon and port.isdecimal() and int(port) < 1 << 16) or bare_ipv6:
            raise ValueError(f"{value!r} is not HOST:PORT, [IPV6]:PORT or unix:PATH")
        return value

    @model_validator(mode="after")
    def _check_tls(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key go together")
        if self.tls_client_ca is not None and self.tls_cert is None:
            raise ValueError("tls_client_ca needs tls_cert and tls_key")
        return self

    @model_validator(mode="after")
    def _check_format_ids(self) -> Self:
        for setting, values in (("tool_format", self.tool_format), ("reasoning_format", self.reasoning_format)):
            ids = [_model_id_and_format(value)[0] for value in values]
            for model_id in ids:
                if model_id is not None and model_id not in self.model_folders:
                    here = ", ".join(self.model_folders)
                    raise ValueError(f"{setting} is for a model {model_id!r}; the models here are {here}")
                if (count := ids.count(model_id)) > 1:
                    whose = "all models" if model_id is None else f"the model {model_id!r}"
                    raise ValueError(f"{setting} has {count} values for {whose}; one is allowed")
        return self

    @property
    def model_folders(self) -> dict[str, Path]:
        """Folder of every model to serve by its id, the default model first."""
        if not self.model:
            return {"pocket": next((f for f in _EMBEDDED_MODEL_FOLDERS if f.is_dir()), _EMBEDDED_MODEL_FOLDERS[-1])}
        return dict(_model_id_and_folder(source) for source in self.model)

    @property
    def tool_formats(self) -> dict[str | None, str]:
        """Name of the format of tool calls by model id; None stands for all models without their own."""
        return dict(map(_model_id_and_format, self.tool_format))

    @property
    def reasoning_formats(self) -> dict[str | None, str]:
        """Name of the format of reasoning by model id; None stands for all models without their own."""
        return dict(map(_model_id_and_format, self.reasoning_format))

    @property
    def listens_beyond_loopback(self) -> bool:
        """Whether another machine could connect."""
        if self.listen.startswith("unix:"):
            return False
        host = self.listen.rpartition(":")[0].strip("[]")
        try:
            return not ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host != "localhost"


class WrongSettings(Exception):
    """Settings that cannot be used, with one sentence a problem."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(problems))


def read_settings(words: Sequence[str]) -> Settings:
    """Settings from command line words, then the environment, then the defaults.

    Raises:
        WrongSettings: a value is out of its bounds or does not go with another.
        SystemExit: argparse has said what is wrong (2), or printed the help that was asked for (0).
    """
    try:
        return CliApp.run(Settings, cli_args=list(words), cli_settings_source=_command_line())
    except ValidationError as error:
        raise WrongSettings([_problem(found) for found in error.errors()]) from None


def _command_line() -> CliSettingsSource[Any]:
    """Flags in a user's words, where pydantic's own help names Python types and empty defaults."""
    parser = ArgumentParser(prog="onward serve", description="Serves models over gRPC, until a signal.")
    return CliSettingsSource(Settings, root_parser=parser, add_argument_method=_add_argument)


def _add_argument(parser: ArgumentParser, *flags: str, **options: Any) -> Action:  # noqa: ANN401  as argparse has it
    if "metavar" in options:
        options["metavar"] = _METAVARS.get(flags[0]) or _METAVARS.get(options["metavar"], options["metavar"])
    options["help"] = options["help"].removesuffix(" (default: ())").removesuffix(" (default: None)")
    return parser.add_argument(*flags, **options)


def _problem(found: ErrorDetails) -> str:
    """`--slots: Input should be ...`, naming the variable too, since either may have set it."""
    message = found["msg"].removeprefix("Value error, ")
    if not found["loc"]:
        return message
    name = str(found["loc"][0])
    return f"--{name.replace('_', '-')} (or ONWARD_{name.upper()}): {message}"


def _model_id_and_folder(source: str) -> tuple[str, Path]:
    """Reads `ID=DIR` or `DIR`; the default id is the folder's name, with hyphens for spaces."""
    model_id, equals, folder = source.partition("=")
    if equals and "/" not in model_id:  # an equals sign after a slash belongs to DIR
        return model_id, Path(folder)
    return "-".join(Path(source).resolve().name.split()), Path(source)


def _model_id_and_format(value: str) -> tuple[str | None, str]:
    """Reads `ID=NAME` or `NAME`; an id may hold an equals sign, a name holds none."""
    model_id, equals, name = value.rpartition("=")
    return model_id if equals else None, name
