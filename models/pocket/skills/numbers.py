"""Sums, differences, comparisons, and counting and sorting short lists; it writes no numbers in words."""

from models.pocket.conversation import Check, Conversation, Exchange, Message
from models.pocket.draw import Draw, Pool, pool
from models.pocket.skills.phrasing import asked
from models.pocket.words import ANIMALS, FOODS, OBJECTS

SKILL = "lists and sums"
LARGEST_TERM = 30

SUM = pool(
    "sum", "What is {a} plus {b}?", "{a} + {b}", "{a} + {b} = ?", "Add {a} and {b}.", "How much is {a} plus {b}?",
    "What is {a} + {b}?", "What is the sum of {a} and {b}?", "Calculate {a} + {b}.", "How much is {a} + {b}?",
    "Compute {a} plus {b}.", "Can you add {a} and {b}?", "{a} plus {b}?", "What do I get if I add {a} and {b}?",
    "Please compute {a} + {b}.", "{a}+{b}", "What is {a}+{b}?",
    is_loose=False,
)  # fmt: skip
DIFFERENCE = pool(
    "difference", "What is {a} minus {b}?", "{a} - {b}", "{a} - {b} = ?", "How much is {a} minus {b}?",
    "What is {a} - {b}?", "Subtract {b} from {a}.", "Calculate {a} - {b}.", "Please subtract {b} from {a}.",
    "Compute {a} minus {b}.", "Can you compute {a} - {b}?", "{a} minus {b}?", "How much is {a} - {b}?",
    "Please compute {a} - {b}.", "{a}-{b}", "What is {a}-{b}?",
    is_loose=False,
)  # fmt: skip
LARGER = pool(
    "larger", "Which is larger, {a} or {b}?", "Which number is larger, {a} or {b}?", "What is more, {a} or {b}?",
    "Is {a} or {b} larger?", "Tell me the larger of {a} and {b}.", "Which is larger: {a} or {b}?",
    "Of {a} and {b}, which is larger?", "Which is the larger number, {a} or {b}?", "{a} or {b}, which is larger?",
    is_loose=False,
)  # fmt: skip
SMALLER = pool(
    "smaller", "Which is smaller, {a} or {b}?", "Which number is smaller, {a} or {b}?", "What is less, {a} or {b}?",
    "Is {a} or {b} smaller?", "Tell me the smaller of {a} and {b}.", "Which is smaller: {a} or {b}?",
    "Of {a} and {b}, which is smaller?", "Which is the smaller number, {a} or {b}?", "{a} or {b}, which is smaller?",
    is_loose=False,
)  # fmt: skip
COUNT = pool(
    "count", "How many things are in this list: {list}?", "Count the items: {list}.", "How many words are here: {list}?",
    "How many items are there: {list}?", "Count these: {list}.", "How long is this list: {list}?", "How many are there: {list}?",
    "Count the words: {list}.", "How many things do you see: {list}?",
)  # fmt: skip
SORT = pool(
    "sort", "Sort these numbers: {list}.", "Sort {list}.", "Put these numbers in order: {list}.", "Sort the list {list}.",
    "Order these numbers: {list}.", "Sort from small to large: {list}.", "Put {list} in order.", "Please sort {list}.",
    "Can you sort {list}?", "Sort this list: {list}.", "Bring {list} in order.", "Sort: {list}",
)  # fmt: skip
LARGEST = pool(
    "largest", "What is the largest of {list}?", "Which is the largest number: {list}?", "Find the largest: {list}.",
    "Which of {list} is the largest?", "Largest number of {list}?", "Tell me the largest of {list}.",
    "Find the largest number in {list}.", "Which number is the largest: {list}?",
)  # fmt: skip
ENDS = pool(
    "ends", "What is the {place} word of {list}?", "Say the {place} item: {list}.", "Which item is {place}: {list}?",
    "Give me the {place} word: {list}.", "What comes {place} in this list: {list}?", "Tell me the {place} item of {list}.",
    "Name the {place} one: {list}.", "What is the {place} item: {list}?",
    is_loose=False,
)  # fmt: skip


def exchange(draw: Draw) -> Exchange:
    """One question of any kind."""
    ask = draw.any((sum_of_two, sum_of_two, difference, difference, comparison, count, sort, sort, largest, ends))
    return ask(draw)


def sum_of_two(draw: Draw) -> Exchange:
    first, second = draw.pair(0, LARGEST_TERM)
    return _calculation(draw, SUM, f"{first} + {second} = {first + second}.", first, second, first + second)


def difference(draw: Draw) -> Exchange:
    second, first = sorted(draw.pair(0, LARGEST_TERM))
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


def _calculation(draw: Draw, phrases: Pool, answer: str, first: int, second: int, result: int) -> Exchange:
    user = asked(draw, draw.of(phrases).format(a=first, b=second))
    return Exchange(user=user, answer=answer, check=Check(rule="exact", values=(answer,)), short=str(result))


def _about_list(draw: Draw, phrases: Pool, items: list[str], answer: str, short: str | None, **slots: str) -> Exchange:
    listed = ", ".join(items) if draw.chance(0.8) else f"{', '.join(items[:-1])} and {items[-1]}"
    user = asked(draw, draw.of(phrases).format(list=listed, **slots))
    return Exchange(user=user, answer=answer, check=Check(rule="exact", values=(answer,)), short=short)
