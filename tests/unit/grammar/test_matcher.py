"""The masks of one output, the tokens it accepts, and how it ends or fails."""

from dataclasses import replace
from random import Random

import numpy as np
import pytest
from llguidance import LLMatcher, LLParserLimits, LLTokenizer

from onward_server.domain import JsonSchemaFormat, RegexFormat
from onward_server.errors import InvalidReason, InvalidRequest
from onward_server.grammar.matcher import GrammarMatcher, MaskFiller, Masks, allocate_masks, apply_mask
from testing.sampling import RandomSampler
from testing.vocabularies import CONTROL_TOKENS, EOS_TOKEN_IDS, small_vocabulary


@pytest.fixture(scope="module")
def writer() -> RandomSampler:
    return RandomSampler.small()


def matcher(writer: RandomSampler, pattern: str) -> GrammarMatcher:
    return writer.compile(RegexFormat(pattern=pattern)).matcher()


def limited(definition: str, **limits: int) -> GrammarMatcher:
    """A matcher of a Lark grammar with these limits."""
    tokenizer = LLTokenizer(small_vocabulary().tokenizer_json, n_vocab=512, eos_token=sorted(EOS_TOKEN_IDS))
    given = LLParserLimits(**limits, verbose_errors=False)  # type: ignore[arg-type]

    def new() -> LLMatcher:
        return LLMatcher(tokenizer, LLMatcher.grammar_from_lark(definition), limits=given, log_level=0)

    return GrammarMatcher(new(), new, "response_format.grammar.definition")


def allowed_ids(of: GrammarMatcher, vocabulary_size: int = 512) -> set[int]:
    masks = allocate_masks(1, vocabulary_size)
    of.fill(masks[0])
    scores = np.zeros(vocabulary_size, np.float32)
    apply_mask(scores, masks[0])
    return set(np.flatnonzero(scores == 0).tolist())


def follow_both(one: GrammarMatcher, other: GrammarMatcher, token_id: int, masks: Masks) -> None:
    """Appends the same token to both until the first fails; the second must not fail."""
    filler = MaskFiller(1)
    for _ in range(200):
        filler.fill([(one, 0), (other, 1)], masks)
        other.check()
        other.accept(token_id)
        one.check()
        one.accept(token_id)


def test_the_end_of_the_sequence_is_allowed_exactly_where_the_output_is_complete(writer: RandomSampler) -> None:
    output = matcher(writer, "12?")
    one, two = writer.ids_of("1")[0], writer.ids_of("2")[0]
    assert not allowed_ids(output) & EOS_TOKEN_IDS
    assert not output.may_end
    output.accept(one)
    assert allowed_ids(output) == {two, *EOS_TOKEN_IDS}
    assert output.may_end
    assert not output.is_complete
    output.accept(two)
    assert output.may_end
    assert output.is_complete
    assert allowed_ids(output) == EOS_TOKEN_IDS


def test_an_empty_output_may_end_at_once(writer: RandomSampler) -> None:
    output = matcher(writer, "")
    assert output.may_end
    assert allowed_ids(output) == EOS_TOKEN_IDS


def test_ids_beyond_the_tokenizer_and_control_tokens_are_never_allowed() -> None:
    writer = RandomSampler(replace(small_vocabulary(), size=600))
    allowed = allowed_ids(matcher(writer, "(?s:.*)"), vocabulary_size=600)
    assert allowed & set(range(len(CONTROL_TOKENS))) == EOS_TOKEN_IDS
    assert max(allowed) == 511


def test_forced_tokens_are_returned_but_not_accepted(writer: RandomSampler) -> None:
    schema = '{"type": "object", "properties": {"name": {"enum": ["a", "b"]}}, "required": ["name"]}'
    output = writer.compile(JsonSchemaFormat(schema=schema)).matcher()
    output.accept(writer.ids_of("{")[0])
    for token_id in writer.ids_of('"name"'):
        output.accept(token_id)
    before = allowed_ids(output)
    assert output.forced_tokens() == []
    assert len(before) > 1
    exact = matcher(writer, "name")
    assert exact.forced_tokens() == writer.ids_of("name")
    assert exact.forced_tokens() == writer.ids_of("name")
    assert not exact.is_complete


def test_a_row_filled_with_others_equals_one_filled_alone(writer: RandomSampler) -> None:
    patterns = ["a*", "[0-9]{3}", "x", "(?s:.*)"]
    alone, together = allocate_masks(4, 512), allocate_masks(6, 512)
    for row, pattern in enumerate(patterns):
        matcher(writer, pattern).fill(alone[row])
    filler = MaskFiller(2)
    rows = [(matcher(writer, pattern), row) for pattern, row in zip(patterns, (5, 0, 2, 3), strict=True)]
    filler.start(rows, together).result()
    filler.close()
    assert [together[row].tolist() for row in (5, 0, 2, 3)] == alone.tolist()
    assert (together[[1, 4]] == -1).all()


def test_a_constraint_over_its_budget_ends_its_own_output_only(writer: RandomSampler) -> None:
    dying = limited('start: start start start | "a" | ""', max_items_in_row=50)
    other = matcher(writer, "a*")
    masks = allocate_masks(2, 512)
    with pytest.raises(InvalidRequest) as failure:
        follow_both(dying, other, writer.ids_of("a")[0], masks)
    assert failure.value.reason is InvalidReason.INVALID_RESPONSE_FORMAT
    assert failure.value.violations[0].field == "response_format.grammar.definition"
    assert "<" not in failure.value.violations[0].description
    for ask in (lambda: dying.is_complete, lambda: dying.may_end, dying.forced_tokens, lambda: dying.fill(masks[0])):
        with pytest.raises(InvalidRequest):
            ask()
    assert not other.is_complete


@pytest.mark.parametrize("uses_filler", [True, False])
def test_a_long_output_continues_past_the_limit_of_lexer_states(writer: RandomSampler, *, uses_filler: bool) -> None:
    """Otherwise a lexer with too many states would end the output in the middle."""
    definition = "start: /(a|b)*a(a|b){12}/"
    text = "".join(Random(0).choices("ab", k=600))
    followed = limited(definition, max_lexer_states=900)
    masks, filler = allocate_masks(1, 512), MaskFiller(1)
    natives: list[LLMatcher] = []
    for character in text:
        if uses_filler:
            filler.fill([(followed, 0)], masks)
            followed.check()
        else:
            followed.fill(masks[0])
        if not natives or followed.native is not natives[-1]:
            natives.append(followed.native)
        followed.accept(writer.ids_of(character)[0])
    assert len(natives) > 1
    unlimited = limited(definition)
    for character in text:
        unlimited.accept(writer.ids_of(character)[0])
    assert allowed_ids(followed) == allowed_ids(unlimited)
    filler.close()


def test_a_token_that_the_mask_does_not_allow_is_an_error(writer: RandomSampler) -> None:
    with pytest.raises(InvalidRequest):
        matcher(writer, "a").accept(writer.ids_of("b")[0])


def test_matchers_of_one_grammar_are_independent(writer: RandomSampler) -> None:
    grammar = writer.compile(RegexFormat(pattern="ab"))
    one, other = grammar.matcher(), grammar.matcher()
    for token_id in writer.ids_of("ab"):
        one.accept(token_id)
    assert one.is_complete
    assert not other.is_complete


@pytest.mark.parametrize("size", [1, 31, 32, 33, 511, 512])
def test_a_mask_keeps_the_scores_that_it_allows_and_sets_the_others_to_minus_infinity(size: int) -> None:
    random = np.random.default_rng(size)
    masks = allocate_masks(1, 512)
    allowed = random.random(512) < 0.5
    masks[0] = np.packbits(allowed, bitorder="little").view(np.int32)
    scores = random.normal(size=512).astype(np.float32)[:size]
    expected = np.where(allowed[:size], scores, -np.inf)
    apply_mask(scores, masks[0])
    assert scores.tolist() == expected.tolist()


def test_a_mask_of_another_type_or_layout_is_rejected(writer: RandomSampler) -> None:
    with pytest.raises(ValueError, match="int32"):
        matcher(writer, "a").fill(np.zeros(32, np.int32)[::2])
    with pytest.raises(ValueError, match="int32"):
        MaskFiller(1).fill([], np.zeros((2, 16), np.float32).astype(np.int64))  # type: ignore[arg-type]


class Panic(BaseException):
    """Derived from BaseException, as panics in Rust are."""


class PanickingMatcher:
    """A native matcher that panics at its nth use, and works before it."""

    def __init__(self, native: LLMatcher, panic_at: int) -> None:
        self._native = native
        self._left = panic_at

    def __getattr__(self, name: str) -> object:
        """Counts the uses."""
        self._left -= 1
        if not self._left:
            raise Panic
        return getattr(self._native, name)


class PanickingExecutor:
    """Panics for all of its matchers if one of them does."""

    def unsafe_compute_mask_ptr(self, *_: object) -> None:
        """Panics."""
        raise Panic


def follow(output: GrammarMatcher, token_id: int) -> None:
    """Takes a token nine times, and calls every other method each time."""
    for _ in range(9):
        output.check()
        output.accept(token_id)
        assert output.may_end
        assert not output.is_complete
        output.forced_tokens()


@pytest.mark.parametrize("panic_at", range(1, 8))
def test_a_panic_of_the_library_fails_its_own_output_only(writer: RandomSampler, panic_at: int) -> None:
    """The panic of one output's matcher was a BaseException in the thread that all outputs share."""
    failing, other = matcher(writer, "a{1,20}"), matcher(writer, "a{1,20}")
    failing._matcher = PanickingMatcher(failing._matcher, panic_at)  # type: ignore[assignment]
    masks, filler = allocate_masks(2, 512), MaskFiller(1)
    filler._executor = PanickingExecutor()  # type: ignore[assignment]
    filler.fill([(failing, 0), (other, 1)], masks)
    with pytest.raises(InvalidRequest, match="the library that enforces the constraint failed on it") as failure:
        follow(failing, writer.ids_of("a")[0])
    assert failure.value.reason is InvalidReason.INVALID_RESPONSE_FORMAT
    with pytest.raises(InvalidRequest):
        failing.check()
    follow(other, writer.ids_of("a")[0])
    filler.close()
