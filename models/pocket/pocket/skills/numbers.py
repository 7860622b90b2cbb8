"""Addition, subtraction, comparison, and counting and sorting short lists, with numbers in digits."""

from pocket.conversation import Check, Conversation, Exchange, Message
from pocket.draw import Draw, Pool, pool
from pocket.skills.phrasing import asked
from pocket.words import ANIMALS, FOODS, OBJECTS

SKILL = "lists and sums"
LARGEST_TERM = 30
LARGEST_TRAINED_TERM = 99
"""Larger terms need the same steps, digit by digit, and there are too many to memorize."""

SUM = pool(
    "sum",
    "{a}[ + |+| plus ]{b}[| =| = ?|?]",
    "[What is|What's|How much is] {a}[ + |+| plus ]{b}?",
    "[Calculate|Compute|Please calculate|Please compute|Tell me] {a}[ + |+| plus ]{b}[.|]",
    "[Can|Could] you [calculate|compute|tell me] {a}[ + |+| plus ]{b}?",
    "[Can you add|Could you add|What do I get if I add] {a} [and|to] {b}?",
    "[Add|Please add] {a} [and|to] {b}[.| for me.|]",
    "[What is|What's] the [sum|total] of {a} and {b}?",
    "[Calculate|Compute|Please calculate|Tell me] the [sum|total] of {a} and {b}.",
    is_loose=False,
)  # fmt: skip
DIFFERENCE = pool(
    "difference",
    "{a}[ - |-| minus ]{b}[| =| = ?|?]",
    "[What is|What's|How much is] {a}[ - |-| minus ]{b}?",
    "[Calculate|Compute|Please calculate|Please compute|Tell me] {a}[ - |-| minus ]{b}[.|]",
    "[Can|Could] you [calculate|compute|tell me] {a}[ - |-| minus ]{b}?",
    "[Can you|Could you|What do I get if I] [subtract|take] {b} from {a}?",
    "[Subtract|Take|Please subtract|Please take] {b} from {a}[.| for me.|]",
    "[What is|What's] the difference [of|between] {a} and {b}?",
    "[Calculate|Compute|Please calculate|Tell me] the difference [of|between] {a} and {b}.",
    is_loose=False,
)  # fmt: skip
LARGER = pool(
    "larger",
    "[Which|Which number|Which one|What] is [larger|bigger|greater][,|:] {a} or {b}?",
    "Is {a} or {b} [|the ][larger|bigger|greater]?",
    "Is {a} or {b} the [larger|bigger|greater] [number|one]?",
    "[Tell me|Say|Give me] the [larger|bigger|greater] [|number |one ]of {a} and {b}.",
    "[Of|Out of] {a} and {b}, which [|number |one ]is [larger|bigger|greater]?",
    "[Which|What] is the [larger|bigger|greater] [number|one][,|:] {a} or {b}?",
    "{a} or {b}[,|:] which [|number |one ]is [larger|bigger|greater]?",
    is_loose=False,
)  # fmt: skip
SMALLER = pool(
    "smaller",
    "[Which|Which number|Which one|What] is [smaller|lower][,|:] {a} or {b}?",
    "Is {a} or {b} [|the ][smaller|lower]?",
    "Is {a} or {b} the [smaller|lower] [number|one]?",
    "[Tell me|Say|Give me] the [smaller|lower] [|number |one ]of {a} and {b}.",
    "[Of|Out of] {a} and {b}, which [|number |one ]is [smaller|lower]?",
    "[Which|What] is the [smaller|lower] [number|one][,|:] {a} or {b}?",
    "{a} or {b}[,|:] which [|number |one ]is [smaller|lower]?",
    is_loose=False,
)  # fmt: skip
COUNT = pool(
    "count",
    "How many [things|items|words] are [in this list|here|there]: {list}?",
    "[Count|Please count] [the|these] [things|items|words]: {list}.",
    "[Can|Could] you count [the|these] [things|items|words]: {list}?",
    "How many [things|items|words] does [the|this|my] list have: {list}?",
    "{list}: how many [things|items|words] are [in this list|here|there]?",
    "[Tell me|Say] how many [things|items|words] are [in this list|here|there]: {list}.",
    "How long is [the|this|my] list: {list}?",
)  # fmt: skip
SORT = pool(
    "sort",
    "[Sort|Please sort] [|the list |the numbers |these numbers: ]{list}[.|]",
    "[Sort|Order|Please sort|Please order] [the|these] numbers[:| from small to large:] {list}.",
    "[Put|Write|Please put|Please write] [|the list |the numbers ]{list} in order.",
    "[Put|Write|Please put|Please write] [this list|these numbers] in order[:| from small to large:] {list}.",
    "[Can|Could] you [sort|order] [|the numbers |the list ]{list}[| from small to large]?",
    "[Can|Could] you [sort|order] [these numbers|this list][| from small to large]: {list}?",
    "[Sort|Please sort][| this list| from small to large]: {list}[.|]",
)  # fmt: skip
LARGEST = pool(
    "largest",
    "[What|Which] is the [largest|biggest] [|number |one ]of {list}?",
    "[What|Which] is the [largest|biggest] [number|one][:| in this list:] {list}?",
    "[Find|Tell me|Give me|Say] the [largest|biggest] [|number |one ][of|in] {list}.",
    "[Find|Tell me|Give me|Say] the [largest|biggest] [number|one]: {list}.",
    "Which [|number |one ]of {list} is the [largest|biggest]?",
    "[Which|Which number|Which one] is the [largest|biggest][:| in this list:] {list}?",
    "[The largest|The biggest|Largest|Biggest] number [of|in] {list}?",
)  # fmt: skip
ENDS = pool(
    "ends",
    "[What|Which] is the {place} [word|item|thing] [of|in] [|this list: ]{list}?",
    "[Say|Tell me|Give me] the {place} [word|item|thing|one][:| of| in this list:] {list}.",
    "[Which|What] [word|item|thing] [is|comes] {place}[:| in this list:] {list}?",
    "What [is|comes] {place}[:| in this list:] {list}?",
    "{list}: [what|which] is the {place} [word|item|thing|one]?",
    "[Can|Could] you [tell me|say] the {place} [word|item|thing][:| of] {list}?",
    is_loose=False,
)  # fmt: skip


def exchange(draw: Draw) -> Exchange:
    """One question of any kind."""
    ask = draw.any((sum_of_two, sum_of_two, difference, difference, comparison, count, sort, sort, largest, ends))
    return ask(draw)


def sum_of_two(draw: Draw) -> Exchange:
    first, second = _terms(draw)
    return _calculation(draw, SUM, f"{first} + {second} = {first + second}.", first, second, first + second)


def difference(draw: Draw) -> Exchange:
    second, first = sorted(_terms(draw))
    return _calculation(draw, DIFFERENCE, f"{first} - {second} = {first - second}.", first, second, first - second)


def comparison(draw: Draw) -> Exchange:
    first, second = draw.numbers(2, 0, 99)
    is_larger = draw.chance(0.5)
    right = max(first, second) if is_larger else min(first, second)
    answer = f"{right} is {'larger' if is_larger else 'smaller'}."
    return _calculation(draw, LARGER if is_larger else SMALLER, answer, first, second, right)


def count(draw: Draw) -> Exchange:
    items = draw.some_of(draw.any((OBJECTS, ANIMALS, FOODS)), draw.count(2, 7))
    return _about_list(draw, COUNT, items, f"There are {len(items)}.", str(len(items)))


def sort(draw: Draw) -> Exchange:
    numbers = draw.numbers(draw.any((3, 3, 4, 4, 5)), 0, 99)
    in_order = ", ".join(str(number) for number in sorted(numbers))
    return _about_list(draw, SORT, [str(number) for number in numbers], f"{in_order}.", None)


def largest(draw: Draw) -> Exchange:
    numbers = draw.numbers(draw.count(3, 5), 0, 99)
    answer = str(max(numbers))
    return _about_list(draw, LARGEST, [str(number) for number in numbers], f"The largest is {answer}.", answer)


def ends(draw: Draw) -> Exchange:
    items = draw.some_of(draw.any((OBJECTS, ANIMALS, FOODS)), draw.count(2, 6))
    place = draw.any(("first", "last"))
    word = items[0] if place == "first" else items[-1]
    return _about_list(draw, ENDS, items, f"The {place} is {word}.", word, place=place)


def conversation(draw: Draw) -> Conversation:
    """One to four questions."""
    exchanges = [exchange(draw) for _ in range(draw.turns((1, 2, 3, 4)))]
    messages: list[Message] = [message for part in exchanges for message in part.messages()]
    return Conversation(skill=SKILL, messages=messages, check=exchanges[-1].check)


def _terms(draw: Draw) -> tuple[int, int]:
    is_large = not draw.held_out and draw.chance(0.4)
    return draw.pair(0, LARGEST_TRAINED_TERM if is_large else LARGEST_TERM)


def _calculation(draw: Draw, phrases: Pool, answer: str, first: int, second: int, result: int) -> Exchange:
    user = asked(draw, draw.of(phrases).format(a=first, b=second))
    return Exchange(user=user, answer=answer, check=Check(rule="exact", values=(answer,)), short=str(result))


def _about_list(draw: Draw, phrases: Pool, items: list[str], answer: str, short: str | None, **slots: str) -> Exchange:
    listed = ", ".join(items) if draw.chance(0.8) else f"{', '.join(items[:-1])} and {items[-1]}"
    user = asked(draw, draw.of(phrases).format(list=listed, **slots))
    return Exchange(user=user, answer=answer, check=Check(rule="exact", values=(answer,)), short=short)
