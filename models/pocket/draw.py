"""Seeded draws that keep what training sees apart from what the evaluation asks; it knows no skill."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from random import Random
from typing import TypeVar
from zlib import crc32

T = TypeVar("T")

HELD_OUT_SHARE = 4
"""By checksum every fourth phrase, word and set of numbers is for the evaluation alone."""

INVENTED_SHARE = 0.6
"""Of the words that training draws from open pools."""

USUAL_NAME_SHARE = 0.15
UNKNOWN_WORD_SHARE = 0.06
"""Of the phrases that training draws, in which an invented word stands for one of theirs, as users say unknown ones."""

FEWEST_WORDS = 3
"""Of a phrase that is still understood without one."""

ENGLISH_ONSETS = (
    "b bl br c ch cl cr d dr f fl fr g gl gr h j k kn l m n p pl pr qu r s sc sh sk sl sm sn sp st str sw t th tr "
    "v w wh y z"
).split()
ENGLISH_RIMES = (
    "ab ack ad ain ake all am amp an and ang ar arm art ash at ate aw eam eat eck eed een ell em en ent er ern "
    "ess est et ice ick ie ight ike ile ill im in ine ing ink ip ist it ite oat ock od oke old ol om on one ong "
    "ook oom op ope or ork orn ort oss ot ound out ow ub uck ug um ump un unk up ur urn us ush ut y le ley ler "
    "ter der ber ner mer ma na la ra"
).split()
"""Parts of words as English has them, so that invented words take all of the tokenizer's pieces."""

ENGLISH_WORDS = (
    "above afternoon almost animal answer apple arrow autumn banner basin beauty belong better blossom border bottle "
    "branch bright butter cabbage cactus canvas carriage castle cellar chapter cheese chimney choice circle clever "
    "cloud clover coffee colony copper cotton cousin cradle crystal curtain danger daughter december dinner doctor "
    "dolphin double dragon eagle early echo eleven empty engine evening family feather fellow fence finger flavour "
    "flower forest fortune fountain freedom frozen garlic gather gentle giraffe glacier golden grammar granite gravel "
    "guitar hammer handle harvest hazel helmet hollow honest humble icicle income inside island jacket jelly jewel "
    "journey jungle kettle kingdom kitchen ladder laundry leather lemon letter liberty lobster magnet mango maple "
    "marble meadow medal member mercury middle mineral mirror monsoon morning mustard napkin narrow needle nephew "
    "noble north nutmeg oatmeal object ocean onion orange orchid ordinary oyster paddle paper parsley pasture pebble "
    "pepper picture pigeon pillar planet pocket powder prairie problem pudding purple puzzle quarter quiet rabbit "
    "radish rainbow recipe ribbon rocket saffron sailor salmon sandal saturn season shadow sheriff shoulder silver "
    "simple skeleton sleigh soldier spinach spiral spring stable stamp sugar summer sunset syrup tablet teapot thimble "
    "thunder ticket tomato tractor travel trouble trumpet tulip tunnel turnip twelve uncle useful vacuum vanilla "
    "velvet village vinegar walnut wander water weather whisper willow window winter wonder yellow younger zipper"
).split()
"""Their halves, put together anew, have the spellings that syllables lack."""

RUDE = re.compile("fuck|shit|cunt|nig|fag|rape|slut|whor|dick|cock|tits|piss|poo|nazi|anal|porn|sex")
"""What no invented word may hold."""

PLAIN_WORD = re.compile(r"(?<![\w{'])[A-Za-z][a-z]+(?![\w}])")
"""A word of a phrase, but no slot and no part of a name."""

ONSETS = "b c d f g h j k l m n p r s t v w z br dr gr kl kr pl st tr sh th".split()
VOWELS = "a e i o u a e i o ai ee oo ou".split()
CODAS = "n r l s k m d x".split()
ENDINGS = ("", "", "", "", "s", "ing", "er", "ed")


ALTERNATIVES = re.compile(r"\[([^\]]*)\]")
SLOT = re.compile(r"\{\w+\}")


@dataclass(frozen=True, slots=True)
class Pool:
    """Items of one kind, one part for training and one for the evaluation; a part is made of groups of like items."""

    kind: str
    training: tuple[tuple[str, ...], ...]
    evaluation: tuple[tuple[str, ...], ...]
    is_open: bool = False
    """Training draws invented words too, so that unknown ones are copied rather than taken for a known one."""

    is_loose: bool = False
    """Phrases that are understood without one of their words."""

    def part(self, *, held_out: bool) -> tuple[tuple[str, ...], ...]:
        """The groups that one side may draw from."""
        return self.evaluation if held_out else self.training


def pool(kind: str, *patterns: str, is_loose: bool = True) -> Pool:
    """A pool of phrases: `[a|b|]` in a pattern stands for any of its alternatives, of which one may be nothing.

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
    """Every phrase that a pattern stands for, without the spaces that an empty alternative leaves doubled."""
    parts = ALTERNATIVES.split(pattern)
    choices = [part.split("|") if place % 2 else [part] for place, part in enumerate(parts)]
    phrases = ("".join(chosen) for chosen in product(*choices))
    return tuple(dict.fromkeys(re.sub(" {2,}", " ", phrase) for phrase in phrases))


def _plain_words(phrase: str) -> set[str]:
    return {word.lower() for word in re.findall(r"[A-Za-z]+", SLOT.sub(" ", phrase))}


def words(kind: str, text: str, *, is_open: bool = True) -> Pool:
    """A pool of the words in a text; a word is on the same side in every pool."""
    every = tuple(dict.fromkeys(text.split()))
    return Pool(
        kind,
        tuple((word,) for word in every if not is_held_out(word)),
        tuple((word,) for word in every if is_held_out(word)),
        is_open,
    )


def is_held_out(text: str) -> bool:
    """Whether a phrase, a word or a set of numbers is for the evaluation alone."""
    return crc32(text.encode()) % HELD_OUT_SHARE == HELD_OUT_SHARE - 1


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
    """One conversation's source of chance; `drawn` collects every value that is held apart, with its kind."""

    random: Random
    held_out: bool
    invented_share: float = 0
    """Of the words from open pools, and of the usual names where it is all."""

    drawn: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])

    def of(self, source: Pool) -> str:
        """An item of this side's part of a pool."""
        if self._invents(source):
            return self.coined()
        item = self.random.choice(self.random.choice(source.part(held_out=self.held_out)))
        self.drawn.add((source.kind, item))
        return self._with_unknown_word(item) if source.is_loose and self._mumbles() else item

    def some_of(self, source: Pool, count: int) -> list[str]:
        """Different items of this side's part of a pool."""
        groups = self.random.sample(source.part(held_out=self.held_out), count)
        items = [self.random.choice(group) for group in groups]
        self.drawn.update((source.kind, item) for item in items)
        return [self.coined() if self._invents(source) else item for item in items]

    def any(self, items: Sequence[T]) -> T:
        """An item of a closed class, which both sides share: colours, days, answers."""
        return self.random.choice(items)

    def chance(self, share: float) -> bool:
        """True in this share of the draws."""
        return self.random.random() < share

    def turns(self, usual: Sequence[int]) -> int:
        """How many turns to ask for; training asks more of the same text, so that more is learned from it."""
        return self.any(usual) + (0 if self.held_out else self.any((1, 2, 3, 4)))

    def count(self, low: int, high: int) -> int:
        """A whole number between both limits, limits included."""
        return self.random.randint(low, high)

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """The items in any order."""
        return self.random.sample(list(items), len(items))

    def coined(self) -> str:
        """An invented word in lower case: of plain syllables, as English ones look, or of halves of English ones."""
        while True:
            word = self.any((self._plain_word, self._english_word, self._spliced_word))()
            if is_held_out(word) == self.held_out and not RUDE.search(word):
                self.drawn.add(("coined", word))
                return word

    def name(self) -> str:
        """A name, mostly an invented one."""
        is_usual = self.chance(USUAL_NAME_SHARE) and self.invented_share < 1
        return self.of(USUAL_NAMES) if is_usual else self.coined().capitalize()

    def names(self, count: int) -> list[str]:
        """Different invented names."""
        names: dict[str, None] = {}
        while len(names) < count:
            names[self.name()] = None
        return list(names)

    def numbers(self, count: int, low: int, high: int) -> list[int]:
        """Different numbers; the same ones in whatever order belong to one side."""
        while True:
            numbers = self.random.sample(range(low, high + 1), count)
            if self._claims(numbers):
                return numbers

    def pair(self, low: int, high: int) -> tuple[int, int]:
        """Two numbers, equal ones too; a pair and its reverse belong to one side."""
        while True:
            first, second = self.count(low, high), self.count(low, high)
            if self._claims([first, second]):
                return first, second

    def _invents(self, source: Pool) -> bool:
        return source.is_open and not self.held_out and self.chance(self.invented_share)

    def _mumbles(self) -> bool:
        return not self.held_out and self.chance(UNKNOWN_WORD_SHARE)

    def _with_unknown_word(self, phrase: str) -> str:
        words = list(PLAIN_WORD.finditer(phrase))
        if len(words) < FEWEST_WORDS:
            return phrase
        replaced = self.any(words)
        coined = self.coined().capitalize() if replaced[0][0].isupper() else self.coined()
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
        first, second = self.any(ENGLISH_WORDS), self.any(ENGLISH_WORDS)
        return first[: self.count(2, len(first) - 2)] + second[self.count(2, len(second) - 1) :]
