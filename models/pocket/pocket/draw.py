"""Seeded random draws in which training and evaluation never share a word, phrase or set of numbers."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import product
from random import Random
from typing import TypeVar
from zlib import crc32

from pocket.english import COMMON_WORDS, ENGLISH_ONSETS, ENGLISH_RIMES, ENGLISH_WORDS, MORE_WORDS

T = TypeVar("T")

HELD_OUT_SHARE = 4
"""A checksum assigns every fourth phrase, word and set of numbers to the evaluation alone."""

INVENTED_SHARE = 0.6
"""Share of coined words among those that training draws from open pools."""

COMMON_WORD_SHARE = 0.3
"""Share of common English words among the coined ones, so that training also copies the tokens of ordinary text."""

USUAL_NAME_SHARE = 0.15
UNKNOWN_WORD_SHARE = 0.06
"""Share of training's phrases in which an invented word replaces one word, because users use unknown words."""

FEWEST_LETTERS = 4
"""Letters of a word that can be cut in two."""

FEWEST_WORDS = 3
"""Words of a phrase that is still understood without one of them."""

NOT_ASKED = frozenset(
    "add current light location minutes query result room search text title translate turn "  # known_tools
    "check fetch read "  # offers.GETTERS
    "april attic cellar done first garage hall january july march may mimi nora november ok pantry red reference "
    "rosie silver small sunny uncle warm yellow".split()  # closed classes
)
"""Words of the evaluation by checksum that training also contains elsewhere. The evaluation leaves them out."""

RUDE = re.compile("fuck|shit|cunt|nig|fag|rape|slut|whor|dick|cock|tits|piss|poo|nazi|anal|porn|sex")
"""Parts that no invented word may contain."""

LONG_WORDS = tuple(word for word in (*ENGLISH_WORDS, *COMMON_WORDS) if len(word) >= FEWEST_LETTERS)
"""Share of common words that training cuts in two, to copy more of the tokenizer's pieces."""

PLAIN_WORD = re.compile(r"(?<![\w{'])[A-Za-z][a-z]+(?![\w}])")
"""Matches a word of a phrase that is neither a slot nor part of a name."""

ONSETS = "b c d f g h j k l m n p r s t v w z br dr gr kl kr pl st tr sh th".split()
VOWELS = "a e i o u a e i o ai ee oo ou".split()
CODAS = "n r l s k m d x".split()
ENDINGS = ("", "", "", "", "s", "ing", "er", "ed")


ALTERNATIVES = re.compile(r"\[([^\]]*)\]")
SLOT = re.compile(r"\{\w+\}")


@dataclass(frozen=True, slots=True)
class Pool:
    """Items of one kind, divided between training and evaluation. Each side has groups of similar items."""

    kind: str
    training: tuple[tuple[str, ...], ...]
    evaluation: tuple[tuple[str, ...], ...]
    is_open: bool = False
    """Training also draws coined words, so that the model copies an unknown word instead of replacing it."""

    is_loose: bool = False
    """These phrases are understood without one of their words."""

    def part(self, *, held_out: bool) -> tuple[tuple[str, ...], ...]:
        """The groups of one side."""
        return self.evaluation if held_out else self.training


def pool(kind: str, *patterns: str, is_loose: bool = True) -> Pool:
    """A pool of phrases. `[a|b|]` in a pattern stands for any of its alternatives, one of which may be empty.

    By checksum every fourth phrase is for the evaluation, unless it has a word that training would then not see in
    this pool: what is asked is another combination of known words.
    """
    groups = [variants(pattern) for pattern in patterns]
    known = {word for group in groups for phrase in group if not is_held_out(phrase) for word in _plain_words(phrase)}
    asked = {phrase for group in groups for phrase in group if is_held_out(phrase) and _plain_words(phrase) <= known}
    training = [tuple(phrase for phrase in group if phrase not in asked) for group in groups]
    evaluation = [tuple(phrase for phrase in group if phrase in asked) for group in groups]
    assert any(training), f"{kind}: nothing is left for training"
    assert any(evaluation), f"{kind}: nothing is left for the evaluation"
    return Pool(kind, tuple(filter(None, training)), tuple(filter(None, evaluation)), is_loose=is_loose)


def variants(pattern: str) -> tuple[str, ...]:
    """Every phrase that a pattern stands for. Double spaces around an empty alternative become one."""
    parts = ALTERNATIVES.split(pattern)
    choices = [part.split("|") if place % 2 else [part] for place, part in enumerate(parts)]
    phrases = ("".join(chosen) for chosen in product(*choices))
    return tuple(dict.fromkeys(re.sub(" {2,}", " ", phrase) for phrase in phrases))


def _plain_words(phrase: str) -> set[str]:
    return {word.lower() for word in re.findall(r"[A-Za-z]+", SLOT.sub(" ", phrase))}


def words(kind: str, text: str, *, is_open: bool = True) -> Pool:
    """A pool of the words in a text. A word is on the same side in every pool.

    On neither where it is the evaluation's, and training shows it elsewhere.
    """
    every = tuple(dict.fromkeys(text.split()))
    return Pool(
        kind,
        tuple((word,) for word in every if not is_held_out(word)),
        tuple((word,) for word in every if is_asked(word) and is_asked(word.lower())),
        is_open,
    )


def is_held_out(text: str) -> bool:
    """Whether a phrase, a word or a set of numbers belongs to the evaluation."""
    return crc32(text.encode()) % HELD_OUT_SHARE == HELD_OUT_SHARE - 1


MANY_WORDS = tuple(word for word in (*ENGLISH_WORDS, *COMMON_WORDS, *MORE_WORDS) if not is_held_out(word))
"""For training's last part. The more words it sees, the fewer it memorizes."""
MANY_LONG_WORDS = tuple(word for word in MANY_WORDS if len(word) >= FEWEST_LETTERS)


def is_asked(word: str) -> bool:
    """Whether the evaluation may draw a word."""
    return is_held_out(word) and word not in NOT_ASKED


USUAL_NAMES = words(
    "usual name",
    "Anna Ben Clara David Emma Felix Grace Hugo Ida Jack Kate Leo Maria Noah Olga Paul Rosa Sam Tina Victor Alice Bob "
    "Carol Dan Eva Frank Gina Henry Irene John Karl Lucy Max Nina Oscar Peter Robert Sarah Tom Walter Zoe Luke Mia "
    "Paris London Berlin Rome Madrid Oslo Vienna Lisbon Dublin Prague Warsaw Athens Cairo Boston Sydney Lima Milan "
    "Kyiv",
    is_open=False,
)


@dataclass(frozen=True, slots=True)
class Draw:
    """The random source of one conversation. `drawn` lists every drawn value of an open pool, with its kind."""

    random: Random
    held_out: bool
    invented_share: float = 0
    """Share of invented words among those from open pools. At 1, usual names are invented too."""

    is_last_part: bool = False
    """The last part of training, see corpus.PARTS, also has compound words and functions from few verbs and nouns."""

    drawn: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])

    def of(self, source: Pool) -> str:
        """An item from this side of a pool."""
        if self._invents(source):
            return self.coined()
        item = self.random.choice(self.random.choice(source.part(held_out=self.held_out)))
        self.drawn.add((source.kind, item))
        return self._with_unknown_word(item) if source.is_loose and self._mumbles() else item

    def some_of(self, source: Pool, count: int) -> list[str]:
        """Different items from this side of a pool."""
        groups = self.random.sample(source.part(held_out=self.held_out), count)
        items = [self.random.choice(group) for group in groups]
        self.drawn.update((source.kind, item) for item in items)
        return [self.coined() if self._invents(source) else item for item in items]

    def any(self, items: Sequence[T]) -> T:
        """An item of a closed class, such as colors, days or answers. Both sides share these."""
        return self.random.choice(items)

    def chance(self, share: float) -> bool:
        """True in this share of the draws."""
        return self.random.random() < share

    def turns(self, usual: Sequence[int]) -> int:
        """A number of turns. Training asks more about the same text than the evaluation does, to learn more from it."""
        return self.any(usual) + (0 if self.held_out else self.any((1, 2, 3, 4)))

    def count(self, low: int, high: int) -> int:
        """A whole number between two limits, both included."""
        return self.random.randint(low, high)

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """The items in any order."""
        return self.random.sample(list(items), len(items))

    def coined(self) -> str:
        """A lower-case word that does not fit its place: an invented or a common one."""
        is_common = self.invented_share < 1 and self.chance(COMMON_WORD_SHARE)
        return self._first_of_this_side(self._common_word) if is_common else self._unknown_word()

    def name(self) -> str:
        """A name, usually a coined one."""
        is_usual = self.chance(USUAL_NAME_SHARE) and self.invented_share < 1
        return self.of(USUAL_NAMES) if is_usual else self.coined().capitalize()

    def names(self, count: int) -> list[str]:
        """Different names."""
        names: dict[str, None] = {}
        while len(names) < count:
            names[self.name()] = None
        return list(names)

    def numbers(self, count: int, low: int, high: int) -> list[int]:
        """Different numbers. A set of numbers belongs to one side in any order."""
        while True:
            numbers = self.random.sample(range(low, high + 1), count)
            if self._claims(numbers):
                return numbers

    def pair(self, low: int, high: int) -> tuple[int, int]:
        """Two numbers, which may be equal. A pair and its reverse belong to one side."""
        while True:
            first, second = self.count(low, high), self.count(low, high)
            if self._claims([first, second]):
                return first, second

    def _unknown_word(self) -> str:
        """An invented word: of plain syllables, of English-looking ones, or of English words."""
        ways = [self._plain_word, self._english_word, self._spliced_word]
        return self._first_of_this_side(self.any([*ways, self._compound_word] if self.is_last_part else ways))

    def _first_of_this_side(self, draw_word: Callable[[], str]) -> str:
        while True:
            word = draw_word()
            if (is_asked(word) if self.held_out else not is_held_out(word)) and not RUDE.search(word):
                self.drawn.add(("coined", word))
                return word

    def _invents(self, source: Pool) -> bool:
        return source.is_open and not self.held_out and self.chance(self.invented_share)

    def _mumbles(self) -> bool:
        return not self.held_out and self.chance(UNKNOWN_WORD_SHARE)

    def _with_unknown_word(self, phrase: str) -> str:
        words = list(PLAIN_WORD.finditer(phrase))
        if len(words) < FEWEST_WORDS:
            return phrase
        replaced = self.any(words)
        word = self._unknown_word()
        coined = word.capitalize() if replaced[0][0].isupper() else word
        return phrase[: replaced.start()] + coined + phrase[replaced.end() :]

    def _claims(self, numbers: Sequence[int]) -> bool:
        key = " ".join(str(number) for number in sorted(numbers))
        if is_held_out(key) != self.held_out:
            return False
        self.drawn.add(("numbers", key))
        return True

    def _plain_word(self) -> str:
        word = "".join(self.any(ONSETS) + self.any(VOWELS) for _ in range(2 if self.chance(0.7) else 3))
        return word + self.any(CODAS) if self.chance(0.5) else word

    def _english_word(self) -> str:
        num_syllables = self.any((1, 2, 2))
        syllables = "".join(self.any(ENGLISH_ONSETS) + self.any(ENGLISH_RIMES) for _ in range(num_syllables))
        return syllables + self.any(ENDINGS) if num_syllables == 1 else syllables

    def _spliced_word(self) -> str:
        trained = MANY_LONG_WORDS if self.is_last_part else LONG_WORDS
        source = ENGLISH_WORDS if self.held_out else trained
        first, second = self.any(source), self.any(source)
        return first[: self.count(2, len(first) - 2)] + second[self.count(2, len(second) - 1) :]

    def _compound_word(self) -> str:
        """A whole common word, so that the model copies its pieces in order."""
        ending = self.any((self.any(MANY_WORDS), self.any(ENGLISH_RIMES), self.any(ONSETS) + self.any(VOWELS)))
        return self.any(MANY_WORDS) + ending

    def _common_word(self) -> str:
        if self.is_last_part:
            return self.any(MANY_WORDS)
        return self.any(ENGLISH_WORDS if self.chance(0.3) else COMMON_WORDS)
