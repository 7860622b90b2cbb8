import pytest
from hypothesis import given
from hypothesis import strategies as st

from onward_server.completion.answer.stop_strings import StopScan, StopScanner

STOPS = st.lists(st.text("abé", min_size=1, max_size=4), max_size=4)


def scan(stops: list[str], pieces: list[str], *, include_stop: bool = False) -> tuple[str, str | None]:
    """Returns the emitted text and the stop string that ended it."""
    scanner = StopScanner(stops, include_stop=include_stop)
    text = ""
    for piece in pieces:
        scanned = scanner.feed(piece)
        text += scanned.text
        if scanned.stop is not None:
            return text, scanned.stop
    return text + scanner.finish(), None


def first_stop(stops: list[str], text: str) -> tuple[str, str | None]:
    """The same rule, written as a search over all prefixes of the text."""
    for end in range(1, len(text) + 1):
        ended = [stop for stop in stops if text[:end].endswith(stop)]
        if ended:
            stop = max(ended, key=len)
            return text[: end - len(stop)], stop
    return text, None


@given(stops=STOPS, pieces=st.lists(st.text("abé", max_size=4), max_size=8))
def test_the_result_does_not_depend_on_how_the_text_is_split(stops: list[str], pieces: list[str]) -> None:
    assert scan(stops, pieces) == first_stop(stops, "".join(pieces))


@given(stops=STOPS, pieces=st.lists(st.text("abé", max_size=4), max_size=8))
def test_only_text_that_may_begin_a_stop_string_is_held_back(stops: list[str], pieces: list[str]) -> None:
    scanner = StopScanner(stops, include_stop=False)
    given_text = shown = ""
    for piece in pieces:
        given_text += piece
        scanned = scanner.feed(piece)
        if scanned.stop is not None:
            break
        shown += scanned.text
        held = given_text[len(shown) :]
        ends = [given_text[-length:] for length in range(1, len(given_text) + 1)]
        assert held == max(
            (end for end in ends for stop in stops if stop.startswith(end) and stop != end), key=len, default=""
        )


def test_a_stop_string_split_over_three_pieces_is_removed_exactly() -> None:
    scanner = StopScanner(["STOP"], include_stop=False)
    assert [scanner.feed("one S"), scanner.feed("TO"), scanner.feed("P two")] == [
        StopScan(text="one "),
        StopScan(text=""),
        StopScan(text="", stop="STOP"),
    ]


def test_text_held_back_is_emitted_when_no_stop_string_follows() -> None:
    scanner = StopScanner(["STOP"], include_stop=False)
    assert [scanner.feed("ST").text, scanner.feed("ART").text, scanner.finish()] == ["", "START", ""]


def test_text_held_back_is_emitted_at_the_end() -> None:
    scanner = StopScanner(["STOP"], include_stop=False)
    assert [scanner.feed("one ST").text, scanner.finish()] == ["one ", "ST"]


@pytest.mark.parametrize(("include_stop", "text"), [(False, "one "), (True, "one STOP")])
def test_the_stop_string_is_removed_unless_include_stop_is_set(*, include_stop: bool, text: str) -> None:
    assert scan(["STOP"], ["one S", "TOP two"], include_stop=include_stop) == (text, "STOP")


def test_the_stop_string_that_is_complete_first_wins() -> None:
    assert scan(["bcde", "abcd", "cd"], ["abcde"]) == ("", "abcd")


def test_a_stop_string_that_ends_before_min_tokens_is_text() -> None:
    scanner = StopScanner(["END"], include_stop=False)
    assert [scanner.feed("END EN", may_stop=False), scanner.feed("D")] == [
        StopScan(text="END "),
        StopScan(text="", stop="END"),
    ]


def test_a_stop_string_before_min_tokens_does_not_stop_later() -> None:
    scanner = StopScanner(["ab", "abc"], include_stop=False)
    assert [scanner.feed("ab", may_stop=False), scanner.feed("d")] == [StopScan(text=""), StopScan(text="abd")]
