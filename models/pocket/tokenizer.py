"""Trains the byte-level BPE tokenizer on the corpus; it encodes any text, and digits one by one.

`python -m models.pocket.tokenizer` writes served/tokenizer.json.
"""

import argparse
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from tokenizers.trainers import BpeTrainer

from models.pocket.chat_format import PADDING, SERVED, TURN_END, TURN_START, render
from models.pocket.corpus import training_conversations

VOCAB_SIZE = 2560
CONVERSATIONS = 20_000
CONTROL_TOKENS = (PADDING, TURN_START, TURN_END)
MARKUP_TOKENS = ("<tool_call>", "</tool_call>", "<tools>", "</tools>")
"""One token each, but part of the text: answers keep them."""


def train_tokenizer(vocab_size: int = VOCAB_SIZE, conversations: int = CONVERSATIONS) -> Tokenizer:
    """A tokenizer for the first conversations of the corpus."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=vocab_size - len(MARKUP_TOKENS),
        show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        special_tokens=[AddedToken(token, normalized=False) for token in CONTROL_TOKENS],
    )
    tokenizer.train_from_iterator(_texts(conversations), trainer)
    markup = [AddedToken(token, normalized=False) for token in MARKUP_TOKENS]
    tokenizer.add_tokens(markup)  # pyright: ignore[reportUnknownMemberType]
    return tokenizer


def load_tokenizer(path: Path = SERVED / "tokenizer.json") -> Tokenizer:
    """The served tokenizer."""
    return Tokenizer.from_file(str(path))


def token_id(tokenizer: Tokenizer, token: str) -> int:
    """The id of a token that the tokenizer has."""
    found = tokenizer.token_to_id(token)
    assert found is not None, token
    return found


def _texts(count: int) -> Iterator[str]:
    for conversation in islice(training_conversations(), count):
        text = render(conversation.messages, conversation.tools)
        for token in (*CONTROL_TOKENS, *MARKUP_TOKENS):
            text = text.replace(token, "\n")
        yield text


def main() -> None:
    """Writes the served tokenizer."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--output", type=Path, default=SERVED / "tokenizer.json")
    train_tokenizer().save(str(parser.parse_args().output))


if __name__ == "__main__":
    main()
