from onward_server.model.exporting.progress import ExportLines


def test_a_line_is_printed_every_ten_seconds_and_at_the_end() -> None:
    now_s = 100.0
    lines: list[str] = []
    progress = ExportLines(lines.append, clock=lambda: now_s)

    with progress.weights(4 << 20) as advance:
        for _ in range(4):
            now_s += 6
            advance(1 << 20)

    assert lines == [
        "weights: 2.0 MiB of 4.0 MiB",
        "weights: 4.0 MiB of 4.0 MiB",
        "weights: 4.0 MiB in 24.0 s",
    ]


def test_sentences_are_printed_as_they_are() -> None:
    lines: list[str] = []
    ExportLines(lines.append).note("the source has no chat template")

    assert lines == ["the source has no chat template"]
