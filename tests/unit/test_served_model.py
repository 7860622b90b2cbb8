"""How loading a served model checks a model folder, selects formats, and says how to call the server."""

import json
import logging
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from onward_server.completion.validation import validate
from onward_server.domain import CompletionRequest, FunctionTool, Message, Role
from onward_server.errors import InvalidReason, InvalidRequest, ModelFolderError, StartupError
from onward_server.model.loader import ModelLoader
from onward_server.served_model import ServedModel, load_models
from onward_server.settings.server import Settings
from testing.tiny_model import write_tiny_model
from tests.template_files import template_source


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_tiny_model(tmp_path / "tiny")


def load(folder: Path) -> ServedModel:
    (model,) = load_models(Settings.model_validate({"model": (str(folder),), "slots": 2}))
    return model


def write_tokenizer(folder: Path, *tokens: str) -> None:
    """Writes a tokenizer that has only these tokens."""
    model = {"type": "WordLevel", "vocab": {token: number for number, token in enumerate(tokens)}, "unk_token": "?"}
    Tokenizer.from_str(json.dumps({"version": "1.0", "added_tokens": [], "model": model})).save(
        str(folder / "tokenizer.json")
    )


def test_a_tokenizer_larger_than_the_logits_is_rejected(folder: Path) -> None:
    write_tokenizer(folder, "?", *(f"w{number}" for number in range(600)))
    with pytest.raises(
        ModelFolderError,
        match=r"has 601 tokens, but the model's logits have 512; use the tokenizer\.json of this model",
    ):
        load(folder)


def add_token(folder: Path, content: str, token_id: int, *, post_processor: object = None) -> None:
    path = folder / "tokenizer.json"
    state = json.loads(path.read_text())
    token = {"id": token_id, "content": content, "special": True, "normalized": False}
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip"), False)
    state["added_tokens"].append({**token, **flags})
    path.write_text(json.dumps({**state, "post_processor": post_processor or state["post_processor"]}))


def test_an_added_token_without_a_logit_is_left_out(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Tools add a token to pad batches, as transformers 5 does for Qwen2. The model was rejected."""
    add_token(folder, "<|pad|>", 512)

    tokenizer = load(folder).tokenizer

    assert tokenizer.vocabulary_size == 512
    encoded = tokenizer.encode("a<|pad|>b", add_special_tokens=False)
    assert tokenizer.decode(encoded.ids, keep_special_tokens=True) == "a<|pad|>b"
    assert "tokenizer.json: the model has no logits for '<|pad|>', which is read as text" in caplog.text


def test_a_token_without_a_logit_that_every_text_begins_with_is_rejected(folder: Path) -> None:
    begin = {"SpecialToken": {"id": "<|new|>", "type_id": 0}}
    piece = {"Sequence": {"id": "A", "type_id": 0}}
    template = {
        "type": "TemplateProcessing",
        "single": [begin, piece],
        "pair": [begin, piece, piece],
        "special_tokens": {"<|new|>": {"id": "<|new|>", "ids": [512], "tokens": ["<|new|>"]}},
    }
    add_token(folder, "<|new|>", 512, post_processor=template)
    with pytest.raises(ModelFolderError, match="has 513 tokens, but the model's logits have 512"):
        load(folder)


def test_an_end_of_sequence_id_beyond_the_vocabulary_is_rejected(folder: Path) -> None:
    """`min_tokens` blocks the end-of-sequence tokens in the logits, so each must have a logit."""
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [2, 512]}))
    with pytest.raises(ModelFolderError, match="eos_token_id 512 is not one of the tokenizer's 512 tokens; correct it"):
        load(folder)


def test_top_logprobs_are_limited_by_the_vocabulary(folder: Path) -> None:
    assert load(folder).limits.card.capabilities.max_top_logprobs == 20
    write_tokenizer(folder, "?", "a", "b", "c", "d")
    assert load(folder).limits.card.capabilities.max_top_logprobs == 5


def test_formats_are_detected_from_the_template_unless_settings_name_others(folder: Path) -> None:
    template = template_source("chatml_thinking")
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


def test_a_chat_template_is_named_for_one_model_or_for_all_others(folder: Path, tmp_path: Path) -> None:
    (folder / "chat_template.jinja").write_text(template_source("chatml"))
    named = tmp_path / "named.jinja"
    named.write_text(template_source("chatml_tools"))
    models = load_models(
        Settings.model_validate(
            {
                "model": (f"a={folder}", f"b={folder}"),
                "slots": 2,
                "chat_template": ("a=deepseek_v31", str(named)),
            }
        )
    )

    cards = [model.limits.card for model in models]
    assert [(card.tool_format, card.capabilities.tools) for card in cards] == [("deepseek_v31", True), ("hermes", True)]
    assert len({load(folder).limits.card.system_fingerprint, *(card.system_fingerprint for card in cards)}) == 3


def test_the_files_of_all_models_are_checked_before_the_weights_of_the_first_are_loaded(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mistake in the second model was reported after the first had been loaded, which may take minutes."""

    def load_weights(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(ModelLoader, "load", load_weights)
    broken = write_tiny_model(tmp_path / "broken")
    (broken / "tokenizer.json").write_text("{")
    with pytest.raises(ModelFolderError, match=r"broken/tokenizer\.json"):
        load_models(Settings.model_validate({"model": (f"a={folder}", f"b={broken}")}))


UNKNOWN_CALLS = """
{%- for tool in tools or [] %}May call {{ tool.function.name }}. {% endfor %}
{%- for message in messages %}{{ message.role }}: {{ message.content }}
{%- for call in message.tool_calls or [] %}!{{ call.function.name }} {{ call.function.arguments | tojson }}{% endfor %}
{% endfor %}"""


def test_the_formats_are_logged_and_on_the_card(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    (folder / "chat_template.jinja").write_text(template_source("chatml_thinking"))

    card = load(folder).limits.card

    assert (card.tool_format, card.reasoning_format, card.capabilities.tools) == ("hermes", "think", True)
    assert "model tiny: tool format hermes, reasoning format think" in caplog.messages


def test_a_model_with_an_unknown_tool_format_rejects_tools_and_warns(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The calls of such a model came back as text, and the log had no warning."""
    (folder / "chat_template.jinja").write_text(UNKNOWN_CALLS)

    limits = load(folder).limits

    assert (limits.card.tool_format, limits.card.capabilities.tools) == ("", False)
    assert [record.levelname for record in caplog.records if "requests with tools are rejected" in record.message] == [
        "WARNING"
    ]
    request = CompletionRequest(messages=(Message(role=Role.USER, content=("a",)),), tools=(FunctionTool(name="noop"),))
    with pytest.raises(InvalidRequest) as rejected:
        validate(request, limits)
    (violation,) = rejected.value.violations
    assert (violation.field, violation.reason) == ("tools", InvalidReason.UNSUPPORTED_BY_MODEL)
    assert "set --tool-format to one of harmony, gemma4, " in violation.description


def test_a_model_whose_template_renders_no_calls_takes_conversations_with_calls(folder: Path) -> None:
    """Such a model could call a tool, but the conversation with the result was rejected."""
    (folder / "chat_template.jinja").write_text(
        "{{ tools | tojson if tools }}{% for turn in messages %}{{ turn.role }}: {{ turn.content }}\n{% endfor %}"
    )
    settings = Settings.model_validate({"model": (str(folder),), "slots": 2, "tool_format": ("hermes",)})

    (model,) = load_models(settings)

    assert load(folder).limits.takes_tool_calls is False
    assert model.limits.takes_tool_calls is True


def test_an_operator_can_have_tool_calls_of_an_unknown_format_as_text(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text(UNKNOWN_CALLS)
    settings = Settings.model_validate({"model": (str(folder),), "slots": 2, "tool_format": ("none",)})

    (model,) = load_models(settings)

    assert (model.limits.card.tool_format, model.limits.card.capabilities.tools) == ("none", True)
    assert (model.limits.tools_fault, model.output_format.tools) == ("", None)


@pytest.mark.parametrize(
    ("setting", "values", "sentence"),
    [
        ("chat_template", ("qwen",), "--chat-template: 'qwen' is neither a file nor one of deepseek_r1, deepseek_v31"),
        ("tool_format", ("a=qwen",), "unknown tool format 'qwen'; the valid names are none, harmony, "),
        ("tool_format", ("qwen", "a=hermes"), "unknown tool format 'qwen'; the valid names are none, harmony, "),
        ("reasoning_format", ("a=",), "unknown reasoning format ''; the valid names are none, harmony, "),
    ],
    ids=["a template", "for one model", "for all other models", "empty"],
)
def test_an_unknown_format_or_template_is_rejected_before_any_model_is_read(
    setting: str, values: tuple[str, ...], sentence: str
) -> None:
    settings = Settings.model_validate({"model": ("a=/no/such/folder",), setting: values})

    with pytest.raises(StartupError, match=sentence):
        load_models(settings)
