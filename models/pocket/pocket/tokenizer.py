"""Trains the byte-level BPE tokenizer on the corpus; it encodes any text, and digits one by one.

Words that conversations are built of carry the space before them, as usual. Before any other word the space is a token
of its own, so that a name or an object is the same tokens in a sentence, in quotes and in JSON: what must be copied
can be copied piece by piece. No open pool's words are seen in its training, so that each of them falls into common
pieces; what conversations are worded with (one reads a book, a story's friend is a fox) is known all the same.

`python -m pocket.tokenizer` writes served/tokenizer.json.
"""

import argparse
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from tokenizers.trainers import BpeTrainer

from pocket.chat_format import PADDING, SERVED, TURN_END, TURN_START, render
from pocket.corpus import training_draw

VOCAB_SIZE = 2048
CONVERSATIONS = 20_000
KNOWN_SHARE = 1 / 500
"""Of the conversations; a word in as many belongs to their wording, a rarer one was drawn."""

WORD = re.compile(r"[A-Za-z]+")
PIECES = r"'(?:s|t|m|d|ll|re|ve)(?![A-Za-z])|[A-Za-z]+|\n+|[0-9]| ?[^\sA-Za-z0-9]+|\s"
"""What a text is cut into where no known word stands."""
CONTROL_TOKENS = (PADDING, TURN_START, TURN_END)
MARKUP_TOKENS = ("<tool_call>", "</tool_call>", "<tools>", "</tools>")
"""One token each, but part of the text: answers keep them."""


def train_tokenizer(vocab_size: int = VOCAB_SIZE, conversations: int = CONVERSATIONS) -> Tokenizer:
    """A tokenizer for the first conversations of the corpus."""
    texts = [_text(number) for number in range(conversations)]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_pieces(known_words(texts))), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=vocab_size - len(MARKUP_TOKENS),
        show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        special_tokens=[AddedToken(token, normalized=False) for token in CONTROL_TOKENS],
    )
    tokenizer.train_from_iterator(texts, trainer)
    markup = [AddedToken(token, normalized=False) for token in MARKUP_TOKENS]
    tokenizer.add_tokens(markup)  # pyright: ignore[reportUnknownMemberType]
    return tokenizer


@cache
def load_tokenizer(path: Path = SERVED / "tokenizer.json") -> Tokenizer:
    """The served tokenizer."""
    return Tokenizer.from_file(str(path))


def token_id(tokenizer: Tokenizer, token: str) -> int:
    """The id of a token that the tokenizer has."""
    found = tokenizer.token_to_id(token)
    assert found is not None, token
    return found


def known_words(texts: Sequence[str]) -> list[str]:
    """The words that a share of all texts hold."""
    counts = Counter(word for text in texts for word in set(WORD.findall(text)))
    return sorted(word for word, count in counts.items() if count >= KNOWN_SHARE * len(texts))


def pattern_of_any(words: Sequence[str]) -> str:
    """A pattern for any of the words, letter by letter: a list of them would be tried from its start at every place."""
    by_letter: dict[str, list[str]] = defaultdict(list)
    for word in filter(None, words):
        by_letter[word[0]].append(word[1:])
    if not by_letter:
        return ""
    longer = "|".join(letter + pattern_of_any(rests) for letter, rests in by_letter.items())
    return f"(?:{longer}){'?' if '' in words else ''}"


def _pieces(known: Sequence[str]) -> str:
    return rf"(?: |(?<![A-Za-z])){pattern_of_any(known)}(?![A-Za-z])|{PIECES}"


def _text(number: int) -> str:
    """A training conversation with invented words alone, without marks."""
    conversation, _ = training_draw(number, invented_share=1)
    text = render(conversation.messages, conversation.tools)
    for token in (*CONTROL_TOKENS, *MARKUP_TOKENS):
        text = text.replace(token, "\n")
    return text


def main() -> None:
    """Writes the served tokenizer."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--output", type=Path, default=SERVED / "tokenizer.json")
    train_tokenizer().save(str(parser.parse_args().output))


if __name__ == "__main__":
    main()
