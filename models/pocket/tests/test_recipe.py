import json
import re
from itertools import chain, islice
from random import Random

import pytest

from pocket.batches import WINDOW, windows
from pocket.chat_format import TURN_END, example, render
from pocket.conversation import Check
from pocket.corpus import (
    PARTS,
    SKILLS,
    TRAINING_SHARES,
    evaluation_conversations,
    evaluation_draws,
    training_conversation,
    training_conversations,
)
from pocket.draw import NOT_ASKED, Draw, is_asked, is_held_out, pool, variants, words
from pocket.evaluate import BARS, Answer, differences, scores, shared_draws, spread
from pocket.skills import stories
from pocket.skills.known_tools import TOOLS
from pocket.skills.offers import GETTERS, alike, crossed
from pocket.tokenizer import load_tokenizer, pattern_of_any


def items(part: tuple[tuple[str, ...], ...]) -> set[str]:
    return {item for group in part for item in group}


def test_a_conversation_depends_on_its_number_alone() -> None:
    assert training_conversation(7) == next(training_conversations(first=7))


def test_nothing_that_the_evaluation_draws_is_drawn_for_training() -> None:
    assert not shared_draws(num_training=500)


def test_the_evaluation_draws_no_word_of_trainings_functions() -> None:
    names = [name for tool in TOOLS for name in (tool.name, tool.outcome, *dict(tool.parameters))]
    known = {word for name in (*names, *GETTERS) for word in name.split("_") if is_held_out(word)}
    assert known - NOT_ASKED <= {"a", "multiply", "translation"}, "which no draw can make"
    assert not NOT_ASKED & {item.lower() for _, draw in evaluation_draws(150) for _, item in draw.drawn}


def test_shared_friends_and_scenes_are_not_words_of_the_evaluation() -> None:
    assert not [word for pair in (*stories.FRIENDS, *stories.SCENES) for word in pair if is_asked(word.lower())]


def test_a_part_begins_with_a_window() -> None:
    assert not any(first % WINDOW for first in PARTS)


def test_a_drill_ends_with_a_new_call_or_without_a_call() -> None:
    draws = (Draw(Random(number), held_out=False) for number in range(400))
    found = [SKILLS[skill](draw) for draw in draws for skill in ("tool call", "no tool")]
    drills = [one for one in found if len(one.tools) > 4]
    assert max(len(one.tools) for one in drills) == 6
    for one in drills:
        offered = {tool["function"]["name"] for tool in one.tools}
        called = {call["function"]["name"] for turn in one.messages[:-1] for call in turn.get("tool_calls", ())}
        asked = {json.loads(call)["name"] for call in one.check.values} if one.skill == "tool call" else set[str]()
        assert called < offered
        assert asked <= offered - called


def test_what_is_nearly_offered_is_not_offered() -> None:
    for number in range(200):
        offered, missing = crossed(Draw(Random(number), held_out=False, is_last_part=True))
        assert offered
        assert missing
        assert not [(one, other) for one in missing for other in offered if alike(one, other)]


def test_a_word_is_on_the_same_side_in_every_pool() -> None:
    first, second = words("a", "cup lamp chair book key rope"), words("b", "rope key lamp")
    assert not items(first.training) & items(second.evaluation)
    assert items(first.training) | items(first.evaluation) == {"cup", "lamp", "chair", "book", "key", "rope"}


def test_a_pattern_stands_for_every_choice_of_its_alternatives() -> None:
    assert variants("[Tell|Show] me {x}[ now|].") == (
        "Tell me {x} now.",
        "Tell me {x}.",
        "Show me {x} now.",
        "Show me {x}.",
    )
    assert variants("in the [old |]{room}") == ("in the old {room}", "in the {room}")


def test_a_phrase_is_on_one_side_and_training_has_every_word_of_the_evaluations_phrases() -> None:
    phrases = pool(
        "a", "[Tell|Show|Give] me [the|a|one] [name|town|home][ now| again|, please].", "Where [is|was] {x}?"
    )
    training, evaluation = items(phrases.training), items(phrases.evaluation)
    assert not training & evaluation
    assert training | evaluation == {
        *variants("[Tell|Show|Give] me [the|a|one] [name|town|home][ now| again|, please]."),
        "Where is {x}?",
        "Where was {x}?",
    }
    known = set(re.findall("[a-z]+", " ".join(training).lower()))
    assert known.issuperset(re.findall("[a-z]+", " ".join(evaluation).lower()))


def test_no_invented_word_is_rude() -> None:
    draw = Draw(Random(1), held_out=False)
    assert not any("fuck" in draw.coined() for _ in range(20_000))


def test_the_evaluation_set_is_as_large_as_promised_and_has_every_skill() -> None:
    conversations = evaluation_conversations()
    assert len(conversations) >= 1600
    assert {conversation.skill for conversation in conversations} == SKILLS.keys() == TRAINING_SHARES.keys()
    assert SKILLS.keys() < BARS.keys()
    assert [sum(shares) for shares in zip(*TRAINING_SHARES.values(), strict=True)] == [100] * len(PARTS)


@pytest.mark.parametrize("skill", SKILLS)
def test_the_expected_answer_passes_its_own_check(skill: str) -> None:
    for number in range(50):
        conversation = SKILLS[skill](Draw(Random(number), held_out=True))
        text = render([conversation.messages[-1]]).removeprefix("<|im_start|>assistant\n").removesuffix("<|im_end|>\n")
        assert conversation.check.accepts(text), (conversation.check, text)


@pytest.mark.parametrize("skill", SKILLS)
def test_an_empty_and_an_unrelated_answer_fail_the_check(skill: str) -> None:
    conversation = SKILLS[skill](Draw(Random(1), held_out=True))
    assert not conversation.check.accepts("")
    assert not conversation.check.accepts("xyzzy")


@pytest.mark.parametrize(
    ("check", "right", "wrong"),
    [
        (Check(rule="mentions", values=("Bo",)), "Your dog is called Bo.", "Your dog is called Bob."),
        (Check(rule="json", values=('{"a": 1, "b": true}',)), '{"b": true, "a": 1}', '{"a": "1", "b": true}'),
        (Check(rule="json", values=('{"a": 1}',)), '{"a": 1}', '{"a": 2, "a": 1}'),
        (Check(rule="upper case", values=("BLUE",)), "IT IS BLUE.", "It is BLUE."),
        (Check(rule="ends with", values=("sir",)), "It is blue, sir.", "Sir, it is blue."),
        (
            Check(rule="calls", values=('{"name": "f", "arguments": {"x": 1}}',)),
            '<tool_call>\n{"name": "f", "arguments": {"x": 1}}\n</tool_call>',
            '<tool_call>\n{"name": "f", "arguments": {"x": 1}\n</tool_call>',
        ),
    ],
    ids=lambda value: value.rule if isinstance(value, Check) else "",
)
def test_a_check_tells_right_from_nearly_right(check: Check, right: str, wrong: str) -> None:
    assert check.accepts(right)
    assert not check.accepts(wrong)


@pytest.mark.parametrize("text", ["", "Grüße, 你好 👋", "\x00\x7f tabs\t\n", '{"a": [1, 2.5]}', "  two  spaces  "])
def test_the_tokenizer_encodes_any_text(text: str) -> None:
    tokenizer = load_tokenizer()
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False).ids) == text


def test_a_pattern_of_words_matches_each_of_them_and_no_other() -> None:
    known = ["a", "an", "and", "ant", "be", "been"]
    pattern = re.compile(pattern_of_any(known))
    assert [
        word for word in ("", "a", "an", "and", "ant", "anda", "b", "be", "bee", "been") if pattern.fullmatch(word)
    ] == known


def test_worker_processes_make_the_same_batches_in_the_same_order() -> None:
    alone, together = (islice(windows(3, 16_384, 1024, workers), 2) for workers in (0, 1))
    for ours, theirs in zip(alone, together, strict=True):
        assert [batch.ids.tolist() for batch in ours] == [batch.ids.tolist() for batch in theirs]
        assert [batch.is_answer.tolist() for batch in ours] == [batch.is_answer.tolist() for batch in theirs]


def test_only_the_models_answers_are_learned() -> None:
    tokenizer = load_tokenizer()
    for conversation in chain.from_iterable(islice(training_conversations(first), 30) for first in PARTS):
        one = example(conversation, tokenizer)
        learned = [token for token, is_answer in zip(one.ids, one.is_answer, strict=True) if is_answer]
        said = [render([turn]) for turn in conversation.messages if turn["role"] == "assistant"]
        expected = [text.removeprefix("<|im_start|>assistant\n").removesuffix("\n") for text in said]
        assert tokenizer.decode(learned, skip_special_tokens=False) == "".join(expected)
        assert all(text.endswith(TURN_END) for text in expected)
        assert one.ids == tokenizer.encode(render(conversation.messages, conversation.tools)).ids


def test_greedy_answers_may_differ_only_where_two_logits_are_close() -> None:
    served = [Answer(text="b", ids=[1, 3])]
    assert not list(differences([Answer(text="b", ids=[1, 3], margins=[9.0, 9.0])], served))
    assert not list(differences([Answer(text="a", ids=[1, 2], margins=[9.0, 0.00001])], served))
    assert len(list(differences([Answer(text="a", ids=[1, 2], margins=[9.0, 0.1])], served))) == 1


def test_compared_conversations_are_spread_over_all_skills() -> None:
    conversations = evaluation_conversations(3)
    skills = [conversations[place].skill for place in spread(conversations, 2 * len(SKILLS))]
    assert {skill: skills.count(skill) for skill in skills} == dict.fromkeys(SKILLS, 2)


def test_a_tool_can_be_chosen_correctly_and_called_incorrectly() -> None:
    conversation = SKILLS["tool call"](Draw(Random(1), held_out=True))
    call = json.loads(conversation.check.values[0])
    text = f"<tool_call>\n{json.dumps(call | {'arguments': {'surely': 'wrong'}})}\n</tool_call>"
    found = scores([conversation], [Answer(text=text, ids=[])])
    assert (found["tool choice"].right, found["tool call"].right) == (1, 0)


def test_an_unterminated_call_does_not_count_as_no_call() -> None:
    conversation = SKILLS["no tool"](Draw(Random(1), held_out=True))
    found = scores([conversation], [Answer(text='<tool_call>\n{"name": "f", "argu', ids=[])])
    assert found["tool choice"].right == 0
