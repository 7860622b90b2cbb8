"""The slots and the context that are chosen, and the values that a refusal names."""

import logging
import re
from collections.abc import Sequence

import pytest

from onward_server.errors import StartupError
from onward_server.model.memory import Available
from onward_server.model.memory_plan import (
    Activations,
    MemoryBudget,
    MemoryPlan,
    ModelCosts,
    WantedSize,
    choose_size,
    require_memory,
)

MIB = 2**20
GIB = 2**30
TOKEN_BYTES = 46_080  # of keys and values, in the shape of SmolLM2-135M


def cache_bytes(*, num_slots: int, context_length: int) -> int:
    return num_slots * context_length * TOKEN_BYTES


def logits_bytes(*, num_slots: int, prefill_chunk: int) -> int:
    return (num_slots + prefill_chunk + 1) * 49_152 * 4


COSTS = ModelCosts(
    cache_bytes=cache_bytes,
    logits_bytes=logits_bytes,
    vocabulary_size=49_152,
    activations=Activations(fixed=MIB, per_token=65_000),
    max_chunk=512,
)


def budget(num_bytes: int | None, *, weight_bytes: Sequence[int] = (0,)) -> MemoryBudget:
    found = None if num_bytes is None else Available(num_bytes=num_bytes, limit="the memory of the machine")
    return MemoryBudget(weight_bytes, lambda: found)


def chosen(
    num_bytes: int | None, *, slots: int | None = None, context: int | None = None, useful: int = 32, model: int = 8192
) -> MemoryPlan:
    wanted = WantedSize(num_slots=slots, max_context_length=context, model_context_length=model)
    return choose_size(COSTS, wanted, budget(num_bytes), lambda fitting: min(useful, fitting))


def test_a_plan_is_the_sum_of_its_parts() -> None:
    plan = COSTS.plan(8, 1024)
    assert plan.cache_bytes == 8 * 1024 * TOKEN_BYTES
    assert plan.logits_bytes == (8 + 513) * 49_152 * 4
    assert plan.activation_bytes == MIB + 513 * 65_000
    parts = (plan.cache_bytes, plan.logits_bytes, plan.activation_bytes, plan.table_bytes, plan.call_bytes)
    assert plan.num_bytes == sum(parts)
    assert plan.num_bytes_after(0) == plan.num_bytes - plan.table_bytes
    assert plan.num_bytes_after(MIB) == plan.num_bytes - plan.table_bytes - MIB
    assert plan.num_bytes_after(GIB) == plan.cache_bytes + plan.logits_bytes + plan.call_bytes


def test_a_context_shorter_than_a_chunk_needs_the_logits_of_the_context_only() -> None:
    assert COSTS.plan(1, 64).logits_bytes == (1 + 65) * 49_152 * 4


def test_intermediate_results_grow_with_the_context_where_attention_is_decomposed() -> None:
    activations = Activations(per_token=100, per_position=10, per_token_and_position=2)
    assert activations.num_bytes(8, 1000) == 800 + 10_000 + 16_000


@pytest.mark.parametrize(
    ("num_bytes", "useful", "expected"),
    [
        (64 * GIB, 32, (32, 8192)),
        (64 * GIB, 16, (16, 8192)),
        (64 * GIB, 1, (8, 8192)),
        (4 * GIB, 32, (8, 8192)),
        (2 * GIB, 32, (4, 8192)),
        (GIB, 32, (1, 8192)),
    ],
    ids=str,
)
def test_slots_are_as_many_as_fit_and_are_useful(num_bytes: int, useful: int, expected: tuple[int, int]) -> None:
    plan = chosen(num_bytes, useful=useful)
    assert (plan.num_slots, plan.context_length) == expected
    assert plan.num_bytes <= 0.8 * num_bytes


def test_a_context_that_does_not_fit_is_capped_to_what_fits_in_one_slot() -> None:
    plan = chosen(2 * GIB, model=131_072)
    assert plan.num_slots == 1
    assert plan.context_length % 64 == 0
    assert plan.num_bytes <= 0.8 * 2 * GIB < COSTS.plan(1, plan.context_length + 64).num_bytes


def test_a_set_number_of_slots_caps_the_context() -> None:
    plan = chosen(2 * GIB, slots=8)
    assert plan.num_slots == 8
    assert 0 < plan.context_length < 8192


def test_set_values_may_take_all_that_is_available() -> None:
    plan = COSTS.plan(8, 1024)
    assert chosen(plan.num_bytes, slots=8, context=1024) == plan
    with pytest.raises(StartupError):
        chosen(plan.num_bytes - 1, slots=8, context=1024)


def test_a_set_context_never_exceeds_that_of_the_model() -> None:
    assert chosen(64 * GIB, context=100_000).context_length == 8192


def test_a_refusal_names_values_that_fit() -> None:
    with pytest.raises(
        StartupError, match=r"8 slots of 4096 tokens.* need 1\.\d\d GiB.* leaves 1\.00 GiB; --slots"
    ) as info:
        chosen(GIB, slots=8, context=4096)
    named = re.search(r"--slots (\d+) --context-length (\d+) would need (\d+) MiB", str(info.value))
    assert named is not None
    slots, context, mib = map(int, named.groups())
    plan = chosen(GIB, slots=slots, context=context)
    assert plan.num_bytes <= GIB < COSTS.plan(slots + 1, context).num_bytes
    assert abs(plan.num_bytes - mib * MIB) <= MIB


def test_a_refusal_names_a_shorter_context_where_not_even_one_slot_fits() -> None:
    with pytest.raises(StartupError, match=r"--slots 1 --context-length (\d+)") as info:
        chosen(300 * MIB, slots=8, context=8192)
    context = int(str(info.value).partition("--context-length ")[2].split()[0])
    assert chosen(300 * MIB, slots=1, context=context).context_length == context


@pytest.mark.parametrize("slots", [None, 1, 8])
def test_a_refusal_says_what_to_do_where_nothing_fits(slots: int | None) -> None:
    with pytest.raises(
        StartupError, match="free memory, lower --prefill-chunk, or serve a smaller or quantized export"
    ):
        chosen(20 * MIB, slots=slots)


def test_the_log_shows_the_arithmetic_and_what_would_give_more_slots(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        chosen(2 * GIB)
    (line,) = caplog.messages
    assert "KV cache of 4 slots of 8,192 tokens 1.41 GiB + logits" in line
    assert "of 2.00 GiB that the memory of the machine leaves and 1.60 GiB that are planned at most" in line
    context = int(line.partition("--context-length ")[2].split()[0])
    assert line.endswith("would give 8 slots")
    assert chosen(2 * GIB, context=context).num_slots == 8


def test_without_a_known_memory_the_usual_size_is_chosen() -> None:
    plan = chosen(None)
    assert (plan.num_slots, plan.context_length) == (8, 4096)
    plan = chosen(None, slots=3, context=8000)
    assert (plan.num_slots, plan.context_length) == (3, 8000)


def test_models_that_are_loaded_later_find_what_the_first_ones_will_take_as_taken() -> None:
    shared = budget(9 * GIB, weight_bytes=[GIB, 0, 0])
    wanted = WantedSize(num_slots=None, max_context_length=None, model_context_length=8192)
    shares: list[int] = []
    for _ in range(3):
        plan = choose_size(COSTS, wanted, shared, lambda fitting: fitting)
        shares.append(plan.num_bytes)
        shared.take(plan.num_bytes)
    assert all(2 * GIB < share <= 3 * GIB for share in shares)
    left = shared.available()
    assert left is not None
    assert left.num_bytes == 9 * GIB - sum(shares)


def test_a_model_leaves_room_for_the_weights_of_those_that_are_loaded_later() -> None:
    """The second model was rejected, because the first one had planned the memory for its weights."""
    shared = budget(10 * GIB, weight_bytes=[GIB, 8 * GIB])
    available = Available(num_bytes=10 * GIB, limit="x")
    assert shared.share(available) == GIB * 8 // 10
    shared.take(GIB // 2)
    assert shared.share(available) == 8 * GIB
    crowded = budget(GIB, weight_bytes=[0, 2 * GIB])
    assert crowded.share(available=Available(num_bytes=GIB, limit="x")) == 0


def test_weights_that_do_not_fit_are_rejected_with_what_is_missing() -> None:
    require_memory("the weights", 100, None, "advice")
    require_memory("the weights", 100, Available(num_bytes=100, limit="x"), "advice")
    with pytest.raises(
        StartupError, match=r"the weights need 3\.00 GiB of memory, but x leaves 1\.00 GiB: 2\.00 GiB is"
    ):
        require_memory("the weights", 3 * GIB, Available(num_bytes=GIB, limit="x"), "advice")
