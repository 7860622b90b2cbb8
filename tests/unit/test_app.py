"""What the composition root makes of a model folder whose parts have to fit each other."""

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from onward_server.app import ServedModel, how_to_call, load_models, own_command
from onward_server.errors import ModelFolderError, StartupError
from onward_server.settings.server import Settings
from testing.tiny_model import CHATML, write_tiny_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_tiny_model(tmp_path / "tiny")


def load(folder: Path) -> ServedModel:
    (model,) = load_models(Settings.model_validate({"model": (str(folder),), "slots": 2}))
    return model


def write_tokenizer(folder: Path, *tokens: str) -> None:
    """Puts a tokenizer of these tokens alone into a folder."""
    model = {"type": "WordLevel", "vocab": {token: number for number, token in enumerate(tokens)}, "unk_token": "?"}
    Tokenizer.from_str(json.dumps({"version": "1.0", "added_tokens": [], "model": model})).save(
        str(folder / "tokenizer.json")
    )


def test_a_tokenizer_larger_than_the_logits_is_refused(folder: Path) -> None:
    write_tokenizer(folder, "?", *(f"w{number}" for number in range(600)))
    with pytest.raises(
        ModelFolderError, match=r"has 601 tokens and the model's logits 512; tokenizer\.json belongs to"
    ):
        load(folder)


def test_an_end_of_sequence_that_is_no_token_is_refused(folder: Path) -> None:
    """A request with min_tokens, which keeps ends from being drawn, once ended the engine of such a model."""
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [2, 512]}))
    with pytest.raises(ModelFolderError, match="eos_token_id 512 is not one of the tokenizer's 512 tokens; correct it"):
        load(folder)


def test_no_more_alternatives_are_offered_than_there_are_tokens(folder: Path) -> None:
    assert load(folder).limits.card.capabilities.max_top_logprobs == 20
    write_tokenizer(folder, "?", "a", "b", "c", "d")
    assert load(folder).limits.card.capabilities.max_top_logprobs == 5


def test_formats_are_the_templates_unless_settings_name_others(folder: Path) -> None:
    template = CHATML + "{# <tool_call> <think> #}"
    (folder / "chat_template.jinja").write_text(template)
    models = load_models(
        Settings.model_validate(
            {
                "model": tuple(f"{model_id}={folder}" for model_id in "abc"),
                "slots": 2,
                "tool_format": ("a=none", "b=llama3"),
                "reasoning_format": ("none", "b=mistral", "c=think"),
            }
        )
    )

    assert [model.output_format.names for model in models] == [
        ("none", "none"),
        ("llama3", "mistral"),
        ("hermes", "think"),
    ]


@pytest.mark.parametrize(
    ("setting", "values", "sentence"),
    [
        ("tool_format", ("a=qwen",), "unknown tool format 'qwen'; the valid names are none, harmony, "),
        ("tool_format", ("qwen", "a=hermes"), "unknown tool format 'qwen'; the valid names are none, harmony, "),
        ("reasoning_format", ("a=",), "unknown reasoning format ''; the valid names are none, harmony, "),
    ],
    ids=["of a model", "of no model, as each has its own", "an empty one"],
)
def test_an_unknown_format_is_refused_before_any_model_is_read(
    setting: str, values: tuple[str, ...], sentence: str
) -> None:
    settings = Settings.model_validate({"model": ("a=/no/such/folder",), setting: values})

    with pytest.raises(StartupError, match=sentence):
        load_models(settings)


@pytest.mark.parametrize(
    ("settings", "address", "command"),
    [
        ({}, "127.0.0.1:50051", 'onward complete "Hello"'),
        ({}, "127.0.0.1:4711", 'onward complete --target 127.0.0.1:4711 "Hello"'),
        ({}, "unix:/run/a b", "onward complete --target 'unix:/run/a b' \"Hello\""),
        ({}, "0.0.0.0:50051", 'onward complete "Hello"'),
        ({}, "[::]:50051", "onward complete --target '[::1]:50051' \"Hello\""),
        ({"tls_cert": "c.pem", "tls_key": "k"}, "127.0.0.1:50051", 'onward complete --tls-ca c.pem "Hello"'),
        (
            {"tls_cert": "c.pem", "tls_key": "k", "tls_client_ca": "a"},
            "127.0.0.1:50051",
            'onward complete --tls-ca c.pem --tls-cert CERT --tls-key KEY "Hello"',
        ),
        ({"api_keys_file": "keys"}, "127.0.0.1:50051", 'onward complete --api-key-file FILE "Hello"'),
    ],
    ids=["as it comes", "a port", "a socket", "any IPv4", "any IPv6", "TLS", "mutual TLS", "keys"],
)
def test_the_server_says_how_to_call_it(settings: dict[str, str], address: str, command: str) -> None:
    said = how_to_call(Settings.model_validate({"model": ("m",), **settings}), address)
    assert said == f"onward serves m on {address}; try: {command}"


@pytest.mark.parametrize(
    ("on_path", "started_as", "command"),
    [
        ({"onward": "/bin/onward"}, "bin/onward", "onward"),
        ({}, "a b/onward", "'a b/onward'"),
        ({}, "onward_server/__main__.py", "'/a python' -m onward_server"),
    ],
    ids=["on the path", "by its path", "as a module"],
)
def test_the_command_to_paste_is_one_that_the_shell_finds(
    monkeypatch: pytest.MonkeyPatch, on_path: dict[str, str], started_as: str, command: str
) -> None:
    """`make serve` printed `onward`, which is in .venv/bin and seldom on the path."""
    monkeypatch.setattr("shutil.which", on_path.get)
    monkeypatch.setattr("sys.argv", [started_as])
    monkeypatch.setattr("sys.executable", "/a python")
    assert own_command() == command
