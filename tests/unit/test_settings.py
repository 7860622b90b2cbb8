import re
from pathlib import Path

import pytest

from onward_server.settings.__main__ import reference
from onward_server.settings.server import Settings, WrongSettings, intended_log_format, read_settings
from onward_server.settings.variables import misspelled_client_variables

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"


def test_the_settings_page_is_generated_from_the_settings() -> None:
    """`make generate` writes the page."""
    assert PAGE.read_text(encoding="utf-8") == reference()


UNITS = {"_s": "in seconds", "_ms": "in milliseconds", "_bytes": "in bytes"}


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_described_with_its_unit_and_the_meaning_of_unset(name: str) -> None:
    field = Settings.model_fields[name]
    description = field.description or ""
    assert description[:1].isupper()
    assert description.endswith(".")
    assert all(unit in description for suffix, unit in UNITS.items() if name.endswith(suffix))
    assert ("Default:" in description) is (field.default in (None, ()))


def test_a_flag_wins_over_the_environment_and_that_over_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONWARD_SLOTS", "3")
    monkeypatch.setenv("ONWARD_MAX_QUEUE", "5")

    settings = read_settings(["--slots", "4"])

    assert (settings.slots, settings.max_queue, settings.prefill_chunk) == (4, 5, 512)


def test_the_variables_that_kubernetes_sets_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kubernetes sets them in every pod, for each service; here for services named onward and onward-gpu."""
    for service in ("ONWARD", "ONWARD_GPU"):
        monkeypatch.setenv(f"{service}_SERVICE_HOST", "10.0.0.1")
        monkeypatch.setenv(f"{service}_SERVICE_PORT", "50051")
        monkeypatch.setenv(f"{service}_SERVICE_PORT_GRPC", "50051")
        monkeypatch.setenv(f"{service}_PORT", "tcp://10.0.0.1:50051")
        monkeypatch.setenv(f"{service}_PORT_50051_TCP", "tcp://10.0.0.1:50051")
        for name, value in (("PROTO", "tcp"), ("PORT", "50051"), ("ADDR", "10.0.0.1")):
            monkeypatch.setenv(f"{service}_PORT_50051_TCP_{name}", value)

    assert read_settings([]).listen == "127.0.0.1:50051"


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    """A compose file that passes variables on sets missing ones to the empty string."""
    monkeypatch.setenv("ONWARD_THREADS", "")
    monkeypatch.setenv("ONWARD_TLS_CERT", "")

    settings = read_settings([])

    assert (settings.threads, settings.tls_cert) == (None, None)


@pytest.mark.parametrize(
    ("words", "places"),
    [
        (["--model", "/m/a"], {"a": Path("/m/a")}),
        (["--model", "x=/m/a"], {"x": Path("/m/a")}),
        (["--model", "/m/a", "--model", "x=/m/a"], {"a": Path("/m/a"), "x": Path("/m/a")}),
        (["--model", "/m/a, x=/m/b"], {"a": Path("/m/a"), "x": Path("/m/b")}),
        (["--model", "./a=b"], {"a=b": Path("./a=b")}),
    ],
)
def test_models_are_places_with_an_id(words: list[str], places: dict[str, Path]) -> None:
    assert {model_id: model.location for model_id, model in read_settings(words).models.items()} == places


def test_a_model_file_wins_over_the_variant_of_its_model() -> None:
    words = ["--model", "o/a:q4", "--model", "o/b:q4", "--model", "o/c", "--model-file", "a=x.onnx"]
    assert [model.variant for model in read_settings(words).models.values()] == ["x.onnx", "q4", None]
    words += ["--model-file", "y.onnx"]
    assert [model.variant for model in read_settings(words).models.values()] == ["x.onnx", "y.onnx", "y.onnx"]


def test_spaces_in_a_folders_name_become_hyphens_in_the_models_id() -> None:
    """A folder such as `a b` was rejected, because its name is not a model id."""
    assert list(read_settings(["--model", "/m/a  b"]).models) == ["a-b"]


def test_models_come_from_the_environment_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONWARD_MODEL", "/m/a,x=/m/b")

    assert list(read_settings([]).models) == ["a", "x"]


def test_without_a_model_the_embedded_one_is_served() -> None:
    assert list(read_settings([]).models) == ["pocket"]


@pytest.mark.parametrize(
    ("words", "formats"),
    [
        ([], {}),
        (["--tool-format", "none"], {None: "none"}),
        (["--tool-format", "a=hermes"], {"a": "hermes"}),
        (["--tool-format", "hermes", "--tool-format", "b=c=none"], {None: "hermes", "b=c": "none"}),
        (["--tool-format", "a=llama3, hermes"], {"a": "llama3", None: "hermes"}),
    ],
    ids=["none", "all", "one", "all but one", "at a comma"],
)
def test_formats_are_for_one_model_or_for_all_others(words: list[str], formats: dict[str | None, str]) -> None:
    assert read_settings(["--model", "/m/a", "--model", "./b=c", *words]).tool_formats == formats


@pytest.mark.parametrize(
    ("words", "templates"),
    [
        (["--chat-template", "deepseek_v31"], {None: "deepseek_v31"}),
        (["--chat-template", "a=/t/x=1.jinja"], {"a": "/t/x=1.jinja"}),
        (["--chat-template", "./x=1.jinja,a=b.jinja"], {None: "./x=1.jinja", "a": "b.jinja"}),
    ],
    ids=["all", "one", "all but one"],
)
def test_chat_templates_are_for_one_model_or_for_all_others(words: list[str], templates: dict[str | None, str]) -> None:
    assert read_settings(["--model", "/m/a", *words]).chat_templates == templates


def test_formats_come_from_the_environment_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONWARD_REASONING_FORMAT", "think,pocket=none")

    assert read_settings([]).reasoning_formats == {None: "think", "pocket": "none"}


def test_switches_can_be_turned_off() -> None:
    settings = read_settings(["--no-reflection", "--insecure"])

    assert (settings.reflection, settings.insecure) == (False, True)


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--slots", "0"], "--slots (or ONWARD_SLOTS): '0' is invalid: input should be greater than or equal to 1"),
        (["--step-target-ms", "nan"], "--step-target-ms (or ONWARD_STEP_TARGET_MS): 'nan' is invalid: input should be"),
        (["--max-deadline-s", "0"], "'0' is invalid: input should be greater than 0"),
        (["--execution-provider", "tpu"], "'tpu' is invalid: input should be 'auto', 'cpu' or 'cuda'"),
        (["--listen", "50051"], "'50051' is not HOST:PORT, [IPV6]:PORT or unix:PATH"),
        (["--listen", "::1:50051"], "'::1:50051' is not HOST:PORT"),
        (["--listen", "localhost:65536"], "'localhost:65536' is not HOST:PORT"),
        (["--listen", "unix:"], "'unix:' is not unix:PATH or unix:///PATH"),
        (["--listen", "unix://host/x"], "'unix://host/x' is not unix:PATH or unix:///PATH"),
        (["--listen", "unix:/run/onward/"], "'unix:/run/onward/' is not unix:PATH"),
        (["--model", "/m/a", "--model", "/n/a"], "two models have the id 'a'"),
        (["--model", "a b=/m/a"], "'a b' is not a model id"),
        (
            ["--tool-format", "x=hermes"],
            "--tool-format names the model 'x', which is not served; the served models are pocket",
        ),
        (
            ["--reasoning-format", "=think", "--model", "/a,/b"],
            "--reasoning-format names the model '', which is not served; the served models are a, b",
        ),
        (["--tool-format", "hermes,llama3"], "--tool-format has 2 values for all models; one is allowed"),
        (
            ["--tool-format", "a=none,a=none", "--model", "/a"],
            "--tool-format has 2 values for the model 'a'; one is allowed",
        ),
        (["--tls-cert", "x"], "--tls-cert needs --tls-key; set both or neither"),
        (["--tls-key", "x"], "--tls-key needs --tls-cert; set both or neither"),
        (["--tls-client-ca", "x"], "--tls-client-ca needs --tls-cert and --tls-key"),
    ],
    ids=lambda value: "" if isinstance(value, str) else None,
)
def test_a_wrong_setting_is_named_with_what_is_allowed(words: list[str], problem: str) -> None:
    with pytest.raises(WrongSettings) as caught:
        read_settings(words)

    (said,) = caught.value.problems
    assert problem in said


def test_every_wrong_setting_is_named_at_once() -> None:
    with pytest.raises(WrongSettings) as caught:
        read_settings(["--slots", "0", "--listen", "x"])

    assert len(caught.value.problems) == 2


def test_help_shows_what_a_user_would_type(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        read_settings(["--help"])
    usage = capsys.readouterr().out
    assert "--model [ID=]MODEL" in usage
    assert "--tool-format [ID=]NAME" in usage
    assert not re.search(r"tuple|\bstr\b|\bint\b|\bfloat\b|\bPath\b|None|\(\)", usage)


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--slotz", "1"], "unrecognized arguments: --slotz 1; did you mean --slots?"),
        (["--api-key-file=x"], "unrecognized arguments: --api-key-file=x; did you mean --api-keys-file?"),
        (["--zzz"], "unrecognized arguments: --zzz; `onward serve --help` lists the flags"),
        (["model"], "unrecognized arguments: model; `onward serve --help` lists the flags"),
        (["--slots"], "argument --slots: expected one argument; `onward serve --help` lists the flags"),
    ],
    ids=["misspelled", "with a value", "unlike any", "no flag", "no value"],
)
def test_an_unknown_flag_is_named_with_the_nearest_one(words: list[str], problem: str) -> None:
    with pytest.raises(WrongSettings) as caught:
        read_settings(words)

    assert caught.value.problems == (problem,)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("ONWARD_SLOT", "ONWARD_SLOT: there is no such environment variable; did you mean ONWARD_SLOTS?"),
        ("onward_slot", "ONWARD_SLOT: there is no such environment variable; did you mean ONWARD_SLOTS?"),
        ("ONWARD_TARGTE", "ONWARD_TARGTE: there is no such environment variable; did you mean ONWARD_TARGET?"),
        (
            "ONWARD_PORT_",
            "ONWARD_PORT_: there is no such environment variable; unset it, or take a name from docs/settings.md",
        ),
    ],
)
def test_an_unknown_variable_stops_the_start_with_the_nearest_name(
    monkeypatch: pytest.MonkeyPatch, name: str, problem: str
) -> None:
    """A misspelled variable was ignored, and the server ran with the default."""
    monkeypatch.setenv(name, "4")

    with pytest.raises(WrongSettings) as caught:
        read_settings(["--slots", "1"])

    (said,) = caught.value.problems
    assert said.startswith(problem)


def test_the_variables_of_the_client_commands_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONWARD_TARGET", "127.0.0.1:1")
    monkeypatch.setenv("ONWARD_API_KEY", "key")

    assert read_settings([]).max_queue == 64


def test_a_name_that_is_nearly_a_client_variable_is_found_without_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client commands run beside a server's variables, which they cannot know."""
    for name in Settings.model_fields:
        monkeypatch.setenv(f"ONWARD_{name.upper()}", "x")
    assert misspelled_client_variables() == []

    monkeypatch.setenv("ONWARD_API_KEYS", "x")
    monkeypatch.setenv("ONWARD_TARGTE", "x")
    assert misspelled_client_variables() == [
        "ONWARD_API_KEYS: there is no such environment variable; did you mean ONWARD_API_KEY?",
        "ONWARD_TARGTE: there is no such environment variable; did you mean ONWARD_TARGET?",
    ]


@pytest.mark.parametrize("words", [["--log-format", "json"], ["--log-format=json"], []])
def test_the_intended_log_format_is_known_before_the_settings_are(
    monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    assert intended_log_format([]) == "text"
    if not words:
        monkeypatch.setenv("ONWARD_LOG_FORMAT", "json")

    assert intended_log_format([*words, "--slots", "x"]) == "json"


@pytest.mark.parametrize(
    ("listen", "is_beyond"),
    [
        ("127.0.0.1:1", False),
        ("127.8.9.1:1", False),
        ("[::1]:1", False),
        ("localhost:1", False),
        ("unix:/tmp/x", False),
        ("0.0.0.0:1", True),
        ("[::]:1", True),
        ("192.0.2.7:1", True),
        ("example.org:1", True),
    ],
)
def test_an_address_is_known_to_stay_on_this_machine_or_not(listen: str, *, is_beyond: bool) -> None:
    assert Settings(listen=listen).listens_beyond_loopback is is_beyond


def test_settings_do_not_change() -> None:
    settings = Settings()

    with pytest.raises(ValueError, match="frozen"):
        settings.slots = 3  # pyright: ignore[reportAttributeAccessIssue]
