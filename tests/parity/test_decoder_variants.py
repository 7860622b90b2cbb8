"""Graphs with the inputs and outputs of many exporters give the tokens of a simple loop over the same decoder."""

from pathlib import Path

import pytest
from onnx import TensorProto

from onward_server.errors import ModelFolderError
from onward_server.model.growing_causal_lm import GrowingCausalLM
from onward_server.model.slot_causal_lm import SlotCausalLM
from testing.other_exporters.decoder_graph import Layout
from tests import decoder_variants as variants
from tests.crowds import neighbors, request, tokens_of
from tests.decoder_variants import Edit
from tests.variant_loading import expected, load_variant

LENGTHS = (1, 2, 3, 40, 232)  # 232 and 24 more fill the context

INPUTS = ("input_ids", "attention_mask", "position_ids")

BOTH: dict[str, Edit] = {
    "int32 inputs": variants.inputs_of_type(TensorProto.INT32, *INPUTS),
    "Boolean mask": variants.inputs_of_type(TensorProto.BOOL, "attention_mask"),
    "float mask": variants.inputs_of_type(TensorProto.FLOAT, "attention_mask"),
    "float16 logits": variants.logits_of_type(TensorProto.FLOAT16),
    "bfloat16 logits": variants.logits_of_type(TensorProto.BFLOAT16),
    "last logits (B, 1, V)": variants.last_logits_only(has_token_axis=True),
    "last logits (B, V)": variants.last_logits_only(has_token_axis=False),
    "logits_to_keep": variants.logits_to_keep([]),
    "logits_to_keep as a vector": variants.logits_to_keep([1], TensorProto.INT32),
    "layer numbers with gaps": variants.layers_with_gaps,
    "names past_key_0": variants.renamed_caches(lambda when, layer, side: f"{when}_{side}_{layer}"),
    "names past_key_values_0_key": variants.renamed_caches(
        lambda when, layer, side: f"{when}_key_values_{layer}_{side}"
    ),
    "names past.0.key": variants.renamed_caches(lambda when, layer, side: f"{when}.{layer}.{side}"),
    "single rows": variants.fixed_axis(0),
}
GROWING: dict[str, Edit] = {
    "single tokens": variants.fixed_axis(1),
    "cache_position": variants.cache_position,
    "caches (B, T, H, D)": variants.tokens_before_heads,
    "caches (B * H, D, T) and (B * H, T, D)": variants.merged_rows_and_heads,
    "caches (2, B, H, T, D)": variants.keys_with_values,
    "caches (B, H, T, 2 * D)": variants.keys_beside_values,
    "two graphs in a file": variants.two_graphs,
}
SLOTS: dict[str, Edit] = {"int8 caches": variants.quantized_caches(8), "int4 caches": variants.quantized_caches(4)}
REFERENCES = {
    **SLOTS,
    "float16 logits": variants.rounded_logits(TensorProto.FLOAT16),
    "bfloat16 logits": variants.rounded_logits(TensorProto.BFLOAT16),
}
CASES = [
    *(
        pytest.param("slots", edit, REFERENCES.get(name), id=f"{name}, slots")
        for name, edit in {**BOTH, **SLOTS}.items()
    ),
    *(
        pytest.param("growing", edit, REFERENCES.get(name), id=f"{name}, growing")
        for name, edit in {**BOTH, **GROWING}.items()
    ),
]


@pytest.mark.parametrize(("layout", "edit", "reference"), CASES)
def test_a_variant_gives_the_tokens_of_the_loop_alone_and_in_a_crowd(
    tmp_path: Path, layout: Layout, edit: Edit, reference: Edit | None
) -> None:
    loaded = load_variant(tmp_path, layout, edit)
    assert isinstance(loaded.causal_lm, SlotCausalLM if layout == "slots" else GrowingCausalLM)
    assert loaded.deterministic
    for length in LENGTHS:
        wanted = request("prompt", length, temperature=0.0, penalties=False)
        alone = tokens_of(loaded.causal_lm, wanted)
        assert [token_id for token_id, _ in alone] == expected(layout, length, reference), f"{length} tokens"
    wanted = request("prompt", 40, temperature=0.0)
    alone = tokens_of(loaded.causal_lm, wanted)
    assert tokens_of(loaded.causal_lm, wanted, before=neighbors()[:3], budget=24) == alone


def test_attention_by_one_operator_over_caches_of_other_kinds_is_served_row_by_row(
    tmp_path: Path,
) -> None:
    """GroupQueryAttention also takes caches that do not share memory."""
    loaded = load_variant(tmp_path, "slots", variants.fixed_axis(1))
    assert isinstance(loaded.causal_lm, GrowingCausalLM)
    alone = tokens_of(loaded.causal_lm, request("prompt", 40, temperature=0.0, penalties=False))
    assert [token_id for token_id, _ in alone] == expected("slots", 40)


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (
            variants.renamed_caches(lambda when, layer, side: f"{when}_key_values.{layer}.decoder.{side}"),
            r"decoder of an encoder-decoder model, .* it has the input past_key_values\.0\.decoder\.key",
        ),
        (variants.renamed_caches(lambda when, layer, side: f"{when}{layer}{side}"), "inputs that are not supported"),
        (variants.inputs_of_type(TensorProto.DOUBLE, "attention_mask"), r"attention_mask has type tensor\(double\)"),
    ],
    ids=["encoder-decoder", "unknown names", "double mask"],
)
def test_a_graph_that_no_layout_serves_is_rejected_with_the_reason(tmp_path: Path, edit: Edit, reason: str) -> None:
    with pytest.raises(ModelFolderError, match=reason):
        load_variant(tmp_path, "growing", edit)
