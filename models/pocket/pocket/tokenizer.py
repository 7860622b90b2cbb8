"""Trains the byte-level BPE tokenizer on the corpus. It encodes any text, and each digit by itself.

Words of the conversations' wording include the space before them. Before any other word, the space is its own token, so
that a name has the same tokens in a sentence, in quotes and in JSON, and can be copied piece by piece. The training
text has invented words in place of those from open pools, so that words from open pools consist of common pieces.

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
"""Share of the conversations. A word in at least this many belongs to their wording; a rarer one was drawn."""

WORD = re.compile(r"[A-Za-z]+")
PIECES = r"'(?:s|t|m|d|ll|re|ve)(?![A-Za-z])|[A-Za-z]+|\n+|[0-9]| ?[^\sA-Za-z0-9]+|\s"
"""The pieces of a text between its known words."""
CONTROL_TOKENS = (PADDING, TURN_START, TURN_END)
MARKUP_TOKENS = ("<tool_call>", "</tool_call>", "<tools>", "</tools>")
"""Each is one token, but part of the text: decoding keeps them."""


def train_tokenizer(vocab_size: int = VOCAB_SIZE, conversations: int = CONVERSATIONS) -> Tokenizer:
    """Trains a tokenizer on the first conversations of the corpus."""
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
    """The id of a token, which the tokenizer must have."""
    found = tokenizer.token_to_id(token)
    assert found is not None, token
    return found


def known_words(texts: Sequence[str]) -> list[str]:
    """The words in at least `KNOWN_SHARE` of the texts."""
    counts = Counter(word for text in texts for word in set(WORD.findall(text)))
    return sorted(word for word, count in counts.items() if count >= KNOWN_SHARE * len(texts))


def pattern_of_any(words: Sequence[str]) -> str:
    """A pattern for any of the words, factored by letters. A plain list would be tried in full at every position."""
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
    """A training conversation with only invented words, without control tokens and markup."""
    conversation, _ = training_draw(number, invented_share=1)
    text = render(conversation.messages, conversation.tools)
    for token in (*CONTROL_TOKENS, *MARKUP_TOKENS):
        text = text.replace(token, "\n")
    return text


def main() -> None:
    """Train the tokenizer and write it."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--output", type=Path, default=SERVED / "tokenizer.json")
    train_tokenizer().save(str(parser.parse_args().output))


if __name__ == "__main__":
    main()
