"""Runs the whole recipe at a small scale: corpus, tokenizer, training, resuming, evaluation, export.

`python -m pocket.smoke` takes less than two minutes and leaves nothing behind.
"""

import tempfile
import time
from dataclasses import replace
from pathlib import Path

from pocket.corpus import corpus_hash, evaluation_conversations
from pocket.evaluate import ask_torch, scores, table
from pocket.export import export, largest_difference
from pocket.tokenizer import train_tokenizer
from pocket.train import CHECKPOINT, CONFIG, Recipe, Trainer, load_model

RECIPE = Recipe(
    config=replace(CONFIG, hidden_size=64, intermediate_size=128, num_layers=2, num_heads=2, num_kv_heads=1),
    num_tokens=600_000,
    warmup_steps=10,
    is_rough=False,
    is_compiled=False,
)


def smoke(directory: Path) -> tuple[float, float]:
    """Runs the recipe in a directory. Returns the held-out loss before and after training.

    Raises:
        AssertionError: the loss did not fall, or the export computes different logits.
    """
    print("corpus", corpus_hash(count=500))
    print("tokenizer", train_tokenizer(conversations=500).get_vocab_size(), "tokens")
    half = Trainer(replace(RECIPE, num_tokens=RECIPE.num_tokens / 2), directory)
    first = half.held_out_loss()
    half.run()
    whole = Trainer(RECIPE, directory)
    assert whole.progress == half.progress, "training must resume where it stopped"
    whole.run()
    last = whole.held_out_loss()
    assert last < first, f"the loss must fall, not go from {first:.3f} to {last:.3f}"
    conversations = evaluation_conversations(2)
    print(table(scores(conversations, ask_torch(directory / CHECKPOINT, conversations))))
    model = load_model(directory / CHECKPOINT)
    export(model, directory / "served")
    difference = largest_difference(model, directory / "served")
    assert difference < 1e-3, f"logits of the export are {difference} away from PyTorch's"
    return first, last


def main() -> None:
    """Run the recipe at a small scale in a temporary directory."""
    started_s = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        first, last = smoke(Path(directory))
    print(f"held-out loss {first:.2f} → {last:.2f}; {time.monotonic() - started_s:.0f} s")


if __name__ == "__main__":
    main()
