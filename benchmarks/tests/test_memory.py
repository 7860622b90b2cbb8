"""The bounds of the memory benchmark."""

from benchmarks.memory import faults


def row(**values: object) -> dict[str, object]:
    full = {"model": "fp32", "slots": 8, "context": 128, "prompt": 125, "peak_mib": 700, "planned_mib": 700}
    return {**full, **values}


def test_a_plan_within_ten_percent_of_the_peak_is_right() -> None:
    assert faults([row(planned_mib=760), row(planned_mib=640), row(model="growing-int4")]) == []


def test_a_plan_that_differs_by_more_is_a_fault() -> None:
    assert faults([row(planned_mib=600)]) == ["fp32 with 8 slots: 600 MiB are planned, but the peak is 700 MiB"]
    assert faults([row(planned_mib=800)]) == ["fp32 with 8 slots: 800 MiB are planned, but the peak is 700 MiB"]


def test_a_peak_beyond_its_bound_is_a_fault_though_the_slots_are_not_full() -> None:
    partly = {"context": "the model's", "prompt": 512, "planned_mib": 3500}
    assert faults([row(**partly, peak_mib=1050), row(**partly, model="int4", peak_mib=620)]) == []
    assert faults([row(**partly, peak_mib=1051), row(**partly, model="int4", peak_mib=621)]) == [
        "fp32: 1051 MiB exceed 1050 MiB",
        "int4: 621 MiB exceed 620 MiB",
    ]
