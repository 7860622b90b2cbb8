"""Short stories about a given hero, place and object, each with one of a few plots."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from pocket.conversation import Check, Conversation, Exchange
from pocket.draw import Draw, pool
from pocket.skills.phrasing import asked, with_article
from pocket.words import ANIMALS, COLOURS, OBJECTS, PLACES

SKILL = "stories"

REQUESTS = pool(
    "story request",
    "[Tell me|Write|Please tell me|Please write|Make up] a [|short ]story about [{hero} the {animal}|{a_animal} named {hero}|{a_animal} called {hero}], the {place} and {a_object}.",
    "[Tell me|Write|Make up] a [|short ]story about [{hero} the {animal}|{a_animal} named {hero}|{a_animal} called {hero}] and {a_object} at the {place}.",
    "[Can|Could] you [tell me|write] a [|short ]story about [{hero} the {animal}|{a_animal} named {hero}|{a_animal} called {hero}], {a_object} and the {place}?",
    "I [want|would like] a [|short ]story [about|with] [{hero} the {animal}|{a_animal} named {hero}|{a_animal} called {hero}], {a_object} and the {place}.",
    "[A story|A short story|Story] about [{hero} the {animal}|{a_animal} named {hero}|{a_animal} called {hero}] with {a_object} at the {place}[|, please].",
    "[Tell me|Write|Make up] a [|short ]story. Hero: {hero} the {animal}. Place: [|the ]{place}. Object: [|the ]{object}.",
    "[Tell me about|Write about] [{hero} the {animal}|{a_animal} named {hero}|{a_animal} called {hero}], who [has|found|lost] {a_object} at the {place}.",
)  # fmt: skip
OPEN_REQUESTS = pool(
    "open story request",
    "[Tell me|Write|Write me|Make up] a [|short |nice |new ]story[.|!]",
    "Please [tell me|write|write me|make up] a [|short |nice |new ]story.",
    "[Can|Could] you [tell me|write|write me|make up] a [|short |nice |new ]story?",
    "I [want|would like] [|to hear |to read ]a [|short |nice |new ]story.",
    "[A|A short|A nice|A new|Another] story[|, please][.|!]",
    "[Do you know|Can I have|Can I hear|Can I read] a [|short |nice |new ]story?",
)  # fmt: skip

Character: TypeAlias = tuple[str, str]
"""A name and an animal."""

FRIENDS: tuple[Character, ...] = (
    ("Pip", "mouse"), ("Bruno", "bear"), ("Tilly", "fox"), ("Otto", "owl"), ("Nora", "goat"), ("Rosie", "dog"),
    ("Mimi", "cat"), ("Hazel", "rabbit"), ("Olly", "otter"), ("Greta", "goose"), ("Basil", "badger"), ("Penny", "pony"),
)  # fmt: skip
"""Characters that nobody asked for. The list is short and shared, because greedy decoding of an invented name loops."""
SCENES = (
    ("forest", "key"),
    ("harbour", "boat"),
    ("village", "drum"),
    ("beach", "umbrella"),
    ("garden", "hat"),
    ("mill", "kite"),
)
"""Places and objects of stories for which none is given; training and evaluation share them."""

OPENINGS = (
    "Once upon a time, {a_animal} named {hero} lived near the {place}.",
    "{hero} was a small {animal} who lived by the {place}.",
    "There was once {a_animal} called {hero}, who loved the {place}.",
    "Near the {place} lived a young {animal} named {hero}.",
    "Long ago, {hero} the {animal} had a little house near the {place}.",
    "{hero} the {animal} knew every corner of the {place}.",
)
CHARACTERS = (
    "Everyone liked {hero}, because {hero} was kind and brave.",
    "{hero} was curious and asked a hundred questions a day.",
    "{hero} was a little shy, but had a warm heart.",
    "All day long {hero} sang funny songs.",
    "{hero} got up with the sun every morning.",
)
ENDINGS = (
    "From that day on, {hero} and {friend} were best friends.",
    "That night {hero} fell asleep with a smile.",
    "And everyone at the {place} still tells this story.",
    "{hero} never forgot that day at the {place}.",
    "And so the day ended well for everyone.",
    "After that, {hero} was never alone again.",
)


@dataclass(frozen=True, slots=True)
class Plot:
    """Steps in order, each with a few ways to tell it."""

    steps: tuple[tuple[str, ...], ...]


PLOTS = (
    Plot((
        ("One morning {hero} found a {colour} {object} in the grass.", "One day a {colour} {object} lay on the path.", "On a cold morning {hero} saw a {colour} {object} under a tree."),
        ('"Who has lost this {object}?" asked {hero}.', '"This {object} is not mine," said {hero}.', "{hero} wondered who had lost the {object}."),
        ("{hero} carried the {object} from door to door.", "So {hero} walked through the {place} and asked everyone.", "{hero} asked all the neighbours, but nobody knew."),
        ("At last {hero} met {friend} the {other}, who was crying.", "Then {friend} the {other} came running.", "In the evening {hero} heard {friend} the {other} call for help."),
        ('"My {object}!" cried {friend}. "I looked for it everywhere!"', '"That is my {object}!" said {friend}. "Thank you so much!"', "{friend} was so glad to have the {object} back."),
        ("They shared a warm cake to celebrate.", "{friend} gave {hero} a big hug.", "Together they danced around the {object}."),
    )),
    Plot((
        ("{hero} had a {colour} {object} and took it everywhere.", "The {colour} {object} was {hero}'s greatest treasure.", "{hero} loved one thing most of all: a {colour} {object}."),
        ("But one day the {object} was gone.", "One stormy night the wind took the {object} away.", "One evening the {object} was not in its place."),
        ("{hero} looked behind every stone.", "{hero} searched the whole {place}.", "{hero} looked high and low and found nothing."),
        ('"Do not cry," said {friend} the {other}. "I will help you."', "Then {friend} the {other} offered to help.", "A wise {other} named {friend} saw the tears and stopped."),
        ("{friend} pointed to the top of a tall tree.", "{friend} followed the tracks to a little hole.", "{friend} knew a secret place where the wind leaves things."),
        ("And there was the {object}, safe and sound!", "There lay the {object}, a bit wet but whole.", "The {object} was there, shining in the sun."),
    )),
    Plot((
        ("One day a great race was held at the {place}.", "There was a big race at the {place}.", "Every summer the animals raced around the {place}."),
        ("The prize was a {colour} {object}.", "The winner would get a {colour} {object}.", "Everyone wanted the prize, a {colour} {object}."),
        ("{friend} the {other} was the fastest of all.", "{friend} the {other} laughed at the others.", "Most people thought that {friend} the {other} would win."),
        ("But in the middle of the race {friend} fell into the mud.", "But then {friend} hurt a foot and could not go on.", "But {friend} took a wrong turn and got stuck."),
        ("{hero} stopped and helped {friend} up.", "{hero} turned around and pulled {friend} out.", "{hero} forgot the race and ran to help."),
        ("They crossed the line together and shared the {object}.", "{friend} said thank you and gave {hero} the {object}.", "They came last, but everyone cheered, and {hero} got the {object}."),
    )),
    Plot((
        ("One night a big storm came over the {place}.", "One day dark clouds came to the {place}.", "In winter a storm shook the {place}."),
        ("{friend} the {other} was out there all alone.", "{friend} the {other} could not find the way home.", "{hero} heard {friend} the {other} call in the dark."),
        ("{hero} took the old {colour} {object} and ran outside.", "{hero} grabbed a {colour} {object} and went into the rain.", "With a {colour} {object} in hand, {hero} went out."),
        ('"Hold on to my {object}!" shouted {hero}.', '"I am coming!" called {hero}.', '"Follow the {object}!" cried {hero}.'),
        ("Step by step they went through the wind.", "The {object} showed them the way.", "They held each other and did not let go."),
        ("At home they drank hot tea.", "Soon they were dry and warm again.", "When the sun came up, the storm was over."),
    )),
    Plot((
        ("Soon it was the birthday of {friend} the {other}.", "{friend} the {other} was going to have a birthday.", "{hero} wanted to give {friend} the {other} a present."),
        ("But {hero} had no money at all.", "{hero} had only two coins.", "In the shop everything cost too much."),
        ("So {hero} began to build a {colour} {object}.", "So {hero} went to work and made a {colour} {object}.", '"I will make a {colour} {object} myself," thought {hero}.'),
        ("It took three days and three nights.", "It was hard work, but it was fun.", "The first try broke, but {hero} did not give up."),
        ('"This {object} is for you," said {hero}.', "{hero} put the {object} on the table at the {place}.", "At the party {hero} brought out the {object}."),
        ('"It is the best present of all!" said {friend}.', "{friend} had never seen such a nice {object}.", "{friend} jumped with joy."),
    )),
)  # fmt: skip


def exchange(draw: Draw) -> Exchange:
    """A request, which usually gives hero, place and object, and its story."""
    friend = draw.any(FRIENDS)
    if draw.chance(0.15):
        slots = _slots(draw, draw.any([one for one in FRIENDS if one != friend]), friend, draw.any(SCENES))
        return Exchange(user=asked(draw, draw.of(OPEN_REQUESTS)), answer=_story(draw, slots), check=Check(rule="story"))
    slots = _slots(draw, (draw.name(), draw.of(ANIMALS)), friend, (draw.of(PLACES), draw.of(OBJECTS)))
    check = Check(rule="story", values=(slots["hero"], slots["place"], slots["object"]))
    return Exchange(user=asked(draw, draw.of(REQUESTS).format(**slots)), answer=_story(draw, slots), check=check)


def conversation(draw: Draw) -> Conversation:
    """One story."""
    one = exchange(draw)
    return Conversation(skill=SKILL, messages=one.messages(), check=one.check)


def _slots(draw: Draw, hero: Character, friend: Character, scene: tuple[str, str]) -> dict[str, str]:
    name, animal = hero
    place, item = scene
    return {
        "hero": name, "animal": animal, "a_animal": with_article(animal), "friend": friend[0], "other": friend[1],
        "place": place, "object": item, "a_object": with_article(item), "colour": draw.any(COLOURS),
    }  # fmt: skip


def _story(draw: Draw, slots: Mapping[str, str]) -> str:
    return " ".join(sentence.format(**slots) for sentence in _sentences(draw))


def _sentences(draw: Draw) -> list[str]:
    plot = draw.any(PLOTS)
    opening = [draw.any(OPENINGS)]
    if draw.chance(0.5):
        opening.append(draw.any(CHARACTERS))
    steps = [draw.any(step) for step in plot.steps]
    ending = [draw.any(ENDINGS)] if draw.chance(0.8) else []
    return opening + steps + ending
