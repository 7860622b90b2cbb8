"""The bounds of the export benchmark."""

from benchmarks.export import faults


def row(**values: object) -> dict[str, object]:
    return {"checkpoint": "135m", "precision": "int8", "seconds": 4.0, "peak_mib": 150, "bound_mib": 1105, **values}


def test_exports_within_their_bounds_have_no_fault() -> None:
    assert faults([row(seconds=30.0, peak_mib=1105), row(checkpoint="1.1b", seconds=90.0)]) == []


def test_too_much_memory_and_too_much_time_are_faults() -> None:
    assert faults([row(seconds=30.1, peak_mib=1106)]) == [
        "135m in int8: 1106 MiB exceed 1105 MiB",
        "135m in int8: 30.1 s exceed 30 s",
    ]
