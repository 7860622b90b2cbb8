"""A rewritten graph computes the logits of as many last tokens as are wanted."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from onward_server.model.rewriting.graph.model_graph import Graph
from onward_server.model.rewriting.last_logits import keep_last_logits
from onward_server.model.rewriting.refusal import NotRewritable
from testing.tiny_model import write_tiny_model
from tests.decomposed_decoder import VOCABULARY, Form, decomposed_decoder
from tests.naive_decoder import NaiveDecoder

TOKEN_IDS = np.arange(7)[None] * 5 % VOCABULARY


def with_last_logits(model: bytes, folder: Path) -> bytes:
    graph = Graph.parse(model, folder)
    keep_last_logits(graph)
    graph.prune()
    return graph.serialize()


def last_logits(model: bytes, count: int) -> NDArray[np.float32]:
    decoder = NaiveDecoder(model)
    total = TOKEN_IDS.shape[1]
    feeds: dict[str, NDArray[np.generic]] = {
        "input_ids": TOKEN_IDS,
        "position_ids": np.arange(total)[None],
        "attention_mask": np.ones((1, total), np.int64),
        "num_logits_to_keep": np.array(count),
    }
    for name, (heads, width) in zip(decoder.past_names, decoder.cache_shapes, strict=True):
        feeds[name] = np.zeros((1, heads, 0, width), np.float32)
    (logits,) = decoder.session.run(["logits"], feeds)
    return logits


@pytest.mark.parametrize("count", [1, 2, 7, 9])
@pytest.mark.parametrize("head", ["plain", "capped"])
def test_the_last_logits_are_those_of_the_original(head: str, count: int, tmp_path: Path) -> None:
    original = decomposed_decoder(Form(head=head))  # pyright: ignore[reportArgumentType]
    every, _ = NaiveDecoder(original).forward(TOKEN_IDS)
    found = last_logits(with_last_logits(original, tmp_path), count)
    np.testing.assert_allclose(found, every[:, -count:], rtol=1e-5, atol=1e-5)


def test_no_number_of_last_logits_gives_all_of_them(tmp_path: Path) -> None:
    original = decomposed_decoder(Form())
    every, _ = NaiveDecoder(original).forward(TOKEN_IDS)
    np.testing.assert_allclose(last_logits(with_last_logits(original, tmp_path), 0), every, rtol=1e-5, atol=1e-5)


def test_a_head_pruned_to_the_last_token_gives_other_logits_again(tmp_path: Path) -> None:
    whole, pruned = (decomposed_decoder(Form(head=head)) for head in ("plain", "pruned"))
    every, _ = NaiveDecoder(whole).forward(TOKEN_IDS)
    assert NaiveDecoder(pruned).forward(TOKEN_IDS)[0].shape[1] == 1
    np.testing.assert_allclose(last_logits(with_last_logits(pruned, tmp_path), 3), every[:, -3:], rtol=1e-5, atol=1e-5)


def test_a_graph_that_takes_the_number_of_last_logits_stays_as_it_is(tmp_path: Path) -> None:
    once = with_last_logits(decomposed_decoder(Form()), tmp_path)
    assert with_last_logits(once, tmp_path) == once


def test_quantized_products_with_the_vocabulary_are_found(tmp_path: Path) -> None:
    original = (write_tiny_model(tmp_path, layout="growing", bits=4) / "model.onnx").read_bytes()
    every, _ = NaiveDecoder(original).forward(TOKEN_IDS)
    found = last_logits(with_last_logits(original, tmp_path), 2)
    assert found.shape[1] == 2
    np.testing.assert_allclose(found, every[:, -2:], rtol=1e-4, atol=1e-4)


REFUSED: Mapping[str, tuple[Form, str]] = {
    "a sum of products": (Form(head="two products"), "computed from 2 products"),
    "states that something else reads": (Form(head="shared"), "2 operators read"),
}


@pytest.mark.parametrize(("form", "reason"), REFUSED.values(), ids=REFUSED)
def test_another_head_is_not_rewritten(form: Form, reason: str, tmp_path: Path) -> None:
    with pytest.raises(NotRewritable, match=reason):
        with_last_logits(decomposed_decoder(form), tmp_path)


def test_the_shape_of_the_logits_says_how_many_there_are(tmp_path: Path) -> None:
    model = onnx.load_from_string(with_last_logits(decomposed_decoder(Form(head="pruned")), tmp_path))
    axes = model.graph.output[0].type.tensor_type.shape.dim
    assert [axis.dim_param or axis.dim_value for axis in axes] == ["batch_size", "num_logits_to_keep", VOCABULARY]
