import pytest

from onward_server.model.token_bytes import TokenDecoder, UnsupportedDecoder

BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": True}
SPACES = {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}
STRIP = {"type": "Strip", "content": " ", "start": 1, "stop": 0}


def sequence(*steps: object) -> dict[str, object]:
    return {"type": "Sequence", "decoders": list(steps)}


@pytest.mark.parametrize(
    ("config", "token", "data"),
    [
        (BYTE_LEVEL, "Ġa", b" a"),
        (BYTE_LEVEL, "ðŁĺ", b"\xf0\x9f\x98"),
        (BYTE_LEVEL, "é", b"\xe9"),
        (BYTE_LEVEL, "a b", b"a b"),
        (sequence(BYTE_LEVEL), "Ċ", b"\n"),
        (sequence(SPACES, {"type": "ByteFallback"}, {"type": "Fuse"}), "▁a▁", b" a "),
        (sequence(SPACES, {"type": "ByteFallback"}), "<0xE9>", b"\xe9"),
        (sequence(SPACES, {"type": "ByteFallback"}), "<0xe>", b"<0xe>"),
        (sequence(SPACES), "<0xE9>", b"<0xE9>"),
        ({"type": "Metaspace", "replacement": "▁"}, "▁a", b" a"),
        (None, "word", b" word"),
    ],
)
def test_an_entry_has_the_bytes_that_the_decoder_gives_it(
    config: dict[str, object] | None, token: str, data: bytes
) -> None:
    assert TokenDecoder(config).bytes_of(token) == data


@pytest.mark.parametrize(
    ("config", "token", "special", "data"),
    [
        (BYTE_LEVEL, "é", False, "é".encode()),
        (BYTE_LEVEL, "<｜a▁b｜>", True, "<｜a▁b｜>".encode()),  # noqa: RUF001
        (sequence(SPACES), "▁▁", False, b"  "),
        (sequence(SPACES), "<a▁b>", True, "<a▁b>".encode()),
    ],
)
def test_an_added_token_has_the_bytes_of_its_text(
    config: dict[str, object], token: str, data: bytes, *, special: bool
) -> None:
    assert TokenDecoder(config).added_bytes(token, special=special) == data


@pytest.mark.parametrize(
    ("config", "has_space"),
    [
        (BYTE_LEVEL, False),
        (sequence(SPACES), False),
        (sequence(SPACES, STRIP), True),
        (sequence(SPACES, {**STRIP, "start": 0}), False),
        ({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"}, True),
        ({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first"}, True),
        ({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never"}, False),
        ({"type": "Metaspace", "replacement": "▁", "add_prefix_space": False}, False),
        (None, True),
    ],
)
def test_the_decoder_says_whether_encoding_prepends_a_space(
    config: dict[str, object] | None, *, has_space: bool
) -> None:
    assert TokenDecoder(config).has_space_before_text is has_space


@pytest.mark.parametrize(
    "step",
    [
        {"type": "WordPiece", "prefix": "##"},
        {"type": "BPEDecoder", "suffix": "</w>"},
        {**STRIP, "stop": 1},
        {"type": "Replace", "pattern": {"Regex": "x"}, "content": ""},
    ],
)
def test_a_decoder_step_that_needs_neighboring_tokens_is_not_supported(step: dict[str, object]) -> None:
    with pytest.raises(UnsupportedDecoder, match=str(step["type"])):
        TokenDecoder(sequence(SPACES, step))
