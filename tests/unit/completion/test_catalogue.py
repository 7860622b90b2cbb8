"""Finding models by id and alias."""

from dataclasses import replace
from pathlib import Path

import pytest

from onward_server.completion.answer.output_format import OutputFormat
from onward_server.completion.catalogue import Catalogue
from onward_server.completion.completer import Completer
from onward_server.completion.prompt.builder import PromptBuilder
from onward_server.completion.validation import ModelLimits
from onward_server.engine.engine import Engine
from onward_server.errors import ModelNotFound
from onward_server.model.tokenizer import Tokenizer
from onward_server.runtime.engine_thread import EngineThread
from onward_server.runtime.pacing import PrefillPacer
from onward_server.runtime.watchdog import Watchdog
from testing.fakes_completion import CARD
from testing.tiny_model import write_tiny_tokenizer
from tests.fakes import FakeCausalLM


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    """The models "small", which is the default, and "large" with the alias "big"."""
    write_tiny_tokenizer(tmp_path)
    tokenizer = Tokenizer.load(tmp_path)
    model = FakeCausalLM()
    engine = EngineThread(
        Engine(model),
        max_queue=1,
        pacer=PrefillPacer(max_chunk=16, step_target_s=0.1),
        watchdog=Watchdog(limit_s=30),
        on_failure=lambda: None,
    )
    cards = (replace(CARD, id="small", aliases=()), replace(CARD, id="large", aliases=("big",), is_default=False))
    return Catalogue(
        [
            Completer(
                limits=ModelLimits(card=card, num_sampleable=1, eos_token_ids=frozenset()),
                prompts=PromptBuilder(tokenizer, None),
                output_format=OutputFormat(),
                constraints=None,
                tokenizer=tokenizer,
                engine=engine,
            )
            for card in cards
        ]
    )


@pytest.mark.parametrize(("name", "model"), [("", "small"), ("small", "small"), ("large", "large"), ("big", "large")])
def test_a_model_is_found_by_id_or_alias_and_without_a_name_the_first(
    catalogue: Catalogue, name: str, model: str
) -> None:
    assert catalogue.get(name).card.id == model


def test_an_unknown_name_lists_the_models(catalogue: Catalogue) -> None:
    with pytest.raises(ModelNotFound, match=r"huge.*large, small"):
        catalogue.get("huge")


def test_every_model_has_one_card(catalogue: Catalogue) -> None:
    assert [card.id for card in catalogue.cards()] == ["large", "small"]
