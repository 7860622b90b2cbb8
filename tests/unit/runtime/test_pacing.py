"""How many prompt tokens a step may prefill while sequences decode, learned from earlier steps."""

from onward_server.engine.engine import StepResult
from onward_server.runtime.pacing import PrefillPacer

DECODED = StepResult(events=[], num_decoded=4)
PREFILLED = StepResult(events=[], num_prefilled=100)


def test_until_a_prompt_was_timed_a_step_may_read_a_whole_chunk() -> None:
    pacer = PrefillPacer(max_chunk=512, step_target_s=0.1)
    pacer.observe(DECODED, 0.04)
    assert pacer.budget_beside_decoding == 512


def test_a_prompt_gets_the_time_that_decoding_leaves() -> None:
    pacer = PrefillPacer(max_chunk=512, step_target_s=0.1)
    pacer.observe(DECODED, 0.04)
    pacer.observe(PREFILLED, 0.05)
    assert pacer.budget_beside_decoding == 120


def test_decoding_that_takes_all_the_time_leaves_a_prompt_sixteen_tokens() -> None:
    pacer = PrefillPacer(max_chunk=512, step_target_s=0.1)
    pacer.observe(DECODED, 0.2)
    pacer.observe(PREFILLED, 0.05)
    assert pacer.budget_beside_decoding == 16


def test_decoding_is_not_charged_to_the_prompt_that_shares_its_step() -> None:
    pacer = PrefillPacer(max_chunk=512, step_target_s=0.1)
    pacer.observe(DECODED, 0.04)
    pacer.observe(StepResult(events=[], num_decoded=4, num_prefilled=100), 0.09)
    assert pacer.budget_beside_decoding == 120
