"""Lines about downloads, for logs and redirected output."""

from onward_server.model.source.pull_progress import ProgressLines, size
from onward_server.model.source.remote_file import RemoteFile

FILE = RemoteFile(path="model.onnx_data", num_bytes=3 << 30, digest="0" * 64)


def test_a_long_download_has_a_line_every_ten_seconds_and_one_at_its_end() -> None:
    now_s = 0.0
    lines: list[str] = []
    with ProgressLines(lines.append, lambda: now_s).transfer(FILE, 1 << 30) as advance:
        for now_s in (5.0, 9.9, 10.0, 15.0, 20.0):  # noqa: B007  the clock reads it
            advance(400 << 20)
        advance(48 << 20)
    assert lines == [
        "model.onnx_data: 2.2 GiB of 3.0 GiB, 120.0 MiB per second",
        "model.onnx_data: 3.0 GiB of 3.0 GiB, 100.0 MiB per second",
        "model.onnx_data: 3.0 GiB in 20.0 s, 1.0 GiB of it were downloaded before",
    ]


def test_a_download_that_starts_again_counts_from_there() -> None:
    now_s = 0.0
    lines: list[str] = []
    with ProgressLines(lines.append, lambda: now_s).transfer(FILE, 1 << 30) as advance:
        now_s = 10.0
        advance(-(1 << 30))
    assert lines[0] == "model.onnx_data: 0 bytes of 3.0 GiB, 0 bytes per second"


def test_sizes_have_the_unit_that_fits() -> None:
    assert [size(n) for n in (0, 1023, 1024, 1 << 20, 5 << 29)] == [
        "0 bytes",
        "1023 bytes",
        "1.0 KiB",
        "1.0 MiB",
        "2.5 GiB",
    ]
