import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onward_server.completion.prompt.sentinels import ControlStrings, remove_sentinels, unused_characters

CONTROL = ("<s>", "</s>", "<|im_end|>", "s><b", "]")
SENTINEL = "\ufdd0"


@given(pieces=st.lists(st.sampled_from([*CONTROL, "<", "s", ">", "|", " ", "é", "im_end"]), max_size=8))
def test_every_control_string_in_a_text_is_split(pieces: list[str]) -> None:
    text = "".join(pieces)
    guarded = ControlStrings(CONTROL).split(text, SENTINEL)
    assert not any(control in guarded for control in CONTROL if len(control) > 1)
    assert remove_sentinels(guarded, SENTINEL).text == text


@pytest.mark.parametrize(
    ("text", "guarded"),
    [("a<s>b", "a<M s>b"), ("<s><b", "<M s>M <b".replace("s>M <b", "sM ><b")), ("none", "none"), ("]", "]")],
)
def test_the_sentinel_follows_the_first_character(text: str, guarded: str) -> None:
    assert ControlStrings(CONTROL).split(text, "M ") == guarded


@pytest.mark.parametrize("text", ["a <s>", "<s>", "x\n<|im_end|>y"])
def test_a_control_string_is_found(text: str) -> None:
    assert ControlStrings(CONTROL).occur_in(text)


@pytest.mark.parametrize("text", ["", "< s>", "im_end", "]", "<S>"])
def test_text_without_a_control_string_is_not_found(text: str) -> None:
    assert not ControlStrings(CONTROL).occur_in(text)


@pytest.mark.parametrize(
    ("text", "guarded"),
    [
        ("a <", "a <M"),
        ("a <|im_ \n", "a <|im_M \n"),
        (" >b", " M>b"),
        ("m_end", "Mm_end"),
        ("s", "MsM"),
        ("plain", "plain"),
        (" ", " "),
    ],
)
def test_ends_that_could_form_a_control_string_with_their_surroundings_are_guarded(text: str, guarded: str) -> None:
    controls = ControlStrings(CONTROL)
    assert controls.guard_ends(text, "M") == guarded
    assert controls.may_join(text) is (guarded != text)


def test_without_control_strings_no_sentinel_is_inserted() -> None:
    controls = ControlStrings(["x"])
    assert not controls.occur_in("x<s>")
    assert not controls.may_join("x")
    assert controls.guard_ends(controls.split("x", SENTINEL), SENTINEL) == "x"


def test_a_sentinel_is_a_character_that_occurs_in_no_text() -> None:
    assert unused_characters(2, ["a\ufdd0", "\ufdd2"]) == ["\ufdd1", "\ufdd3"]


def test_removed_sentinels_leave_their_positions_as_boundaries() -> None:
    rendered = remove_sentinels("aMbcMMd", "M")
    assert (rendered.text, rendered.boundaries) == ("abcd", (1, 3, 3))


@pytest.mark.parametrize("write", [json.dumps, repr, str])
def test_sentinels_are_removed_however_a_template_escapes_them(write: Callable[[str], str]) -> None:
    (sentinel,) = unused_characters(1, [])
    rendered = remove_sentinels(write(f"<{sentinel}s>"), sentinel)
    assert rendered.text == write("<s>")
    assert rendered.boundaries == (rendered.text.index("<") + 1,)


def test_a_sentinel_is_chosen_whose_escape_occurs_in_no_text() -> None:
    assert unused_characters(1, ["\\ufdd0"]) == ["\ufdd1"]


def test_a_thousand_control_strings_are_searched_for_at_once() -> None:
    controls = ControlStrings([f"<|reserved_{number}|>" for number in range(1000)])
    assert controls.occur_in("<" * 200_000 + "<|reserved_777|>")
    assert not controls.occur_in("<|reserved_" * 20_000)
