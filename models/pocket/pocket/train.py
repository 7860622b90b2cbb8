"""Trains the model on the corpus, on a GPU if there is one.

`python -m pocket.train --checkpoints DIR` starts a run, or resumes from the checkpoint in DIR. `--from-served WINDOW`
starts from the served weights instead, for which no checkpoint is needed.
"""

import argparse
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from pocket.batches import Batch, batches_of, windows
from pocket.chat_format import PADDING, example
from pocket.corpus import evaluation_conversations
from pocket.decoder import Decoder
from pocket.generate import load_served
from pocket.muon import Muon
from pocket.tokenizer import VOCAB_SIZE, load_tokenizer, token_id
from testing.other_exporters.decoder_config import DecoderConfig

CONFIG = DecoderConfig(
    vocab_size=VOCAB_SIZE,
    hidden_size=256,
    intermediate_size=512,
    num_layers=8,
    num_heads=8,
    num_kv_heads=4,
    head_dim=32,
    max_positions=1024,
)
CHECKPOINT = "checkpoint.pt"
STEPS_BETWEEN_REPORTS = 20
"""Steps between reports of the loss, because reading it waits for the GPU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """The parameters of a training run, which ends, with the learning rate at 0, at the first limit reached."""

    config: DecoderConfig = CONFIG
    num_tokens: float = 30e6
    minutes: float = math.inf
    batch_tokens: int = 2048
    batches_of_a_step: int = 2
    learning_rate: float = 4e-3
    weight_decay: float = 0.0
    """Applies to the layers' matrices, so that they do not grow over a long run."""
    warmup_steps: int = 100
    decay_share: float = 0.45
    """Share of the run, at its end, in which the learning rate falls to 0."""
    prompt_weight: float = 0.3
    """Initial weight of a prompt token in the loss; an answer token has 1. It is 0 once the learning rate falls."""
    checkpoint_every_s: float = 180
    is_rough: bool = True
    """Multiply in bfloat16, which is faster with AMX or on a GPU."""
    is_compiled: bool = True
    """Fuse the operations between the products, which takes half a minute at the start."""
    workers: int = 0
    """Number of processes that make the corpus. 0: the training process makes it between steps."""
    seed: int = 1


RECIPE = Recipe()
GPU_RECIPE = replace(
    RECIPE, num_tokens=790e6, batch_tokens=32_768, batches_of_a_step=1, weight_decay=0.05, checkpoint_every_s=60
)
"""Larger steps, which take a GPU the same time, and as many tokens as the served model saw on one."""


@dataclass(slots=True)
class Progress:
    """The progress of a run."""

    step: int = 0
    num_tokens: int = 0
    elapsed_s: float = 0
    window: int = 0
    """The first window of the corpus that is not fully used."""

    def share(self, recipe: Recipe) -> float:
        """The finished share of the run, 0 to 1."""
        return max(self.num_tokens / recipe.num_tokens, self.elapsed_s / (60 * recipe.minutes))


class Trainer:
    """A model with its optimizers and progress: Muon for the layers' matrices, AdamW for the rest."""

    def __init__(self, recipe: Recipe, directory: Path) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe = recipe
        self.padding = token_id(load_tokenizer(), PADDING)
        self.checkpoint = directory / CHECKPOINT
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = Decoder(recipe.config).to(self.device)
        if recipe.is_rough:
            self.model.make_rough()
            torch.backends.cuda.matmul.allow_tf32 = True
            torch.backends.cuda.enable_cudnn_sdp(
                enabled=False
            )  # it plans anew for every shape, which takes 140 ms per step
        for layer in self.model.model.layers if recipe.is_compiled else ():
            layer.compile(dynamic=True)
        matrices = [weight for weight in self.model.model.layers.parameters() if weight.dim() == 2]
        others = [weight for weight in self.model.parameters() if all(weight is not matrix for matrix in matrices)]
        self.optimizers = [
            Muon(matrices, weight_decay=recipe.weight_decay),
            torch.optim.AdamW(others, betas=(0.9, 0.95), weight_decay=0.0, fused=True),
        ]
        self.progress = Progress()
        if self.checkpoint.exists():
            self._load()

    def start_from_served(self, window: int) -> None:
        """Starts from the served weights at a window of the corpus, with new optimizers."""
        self.model.load_state_dict(load_served().state_dict())
        self.progress.window = window

    def run(self) -> None:
        """Trains until a limit of the recipe is reached."""
        started_s = time.monotonic() - self.progress.elapsed_s
        saved_s = self.progress.elapsed_s
        with tqdm(total=self.recipe.num_tokens, initial=self.progress.num_tokens, unit="tok", unit_scale=True) as bar:
            for batches in self._steps():
                loss = self._step(batches)
                num_tokens = sum(batch.num_tokens for batch in batches)
                self.progress.num_tokens += num_tokens
                self.progress.elapsed_s = time.monotonic() - started_s
                bar.update(num_tokens)
                if self.progress.step % STEPS_BETWEEN_REPORTS == 0:
                    bar.set_postfix(loss=f"{loss.item():.3f}", step=self.progress.step)
                if self.progress.share(self.recipe) >= 1:
                    break
                if self.progress.elapsed_s - saved_s > self.recipe.checkpoint_every_s:
                    self.save()
                    saved_s = self.progress.elapsed_s
        self.save()

    def held_out_loss(self, count_of_a_skill: int = 8) -> float:
        """The mean loss over the answer tokens of some evaluation conversations."""
        tokenizer = load_tokenizer()
        examples = [example(one, tokenizer) for one in evaluation_conversations(count_of_a_skill)]
        total = num_answers = 0.0
        with torch.inference_mode():
            for batch in batches_of(examples, self.recipe.batch_tokens):
                total += self._loss(batch).item()
                num_answers += int(batch.is_answer.sum())
        return total / num_answers

    def save(self) -> None:
        """Writes the checkpoint atomically."""
        self.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        state = {
            "config": asdict(self.recipe.config),
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "progress": asdict(self.progress),
        }
        partial = self.checkpoint.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(self.checkpoint)

    def _load(self) -> None:
        state = torch.load(self.checkpoint, map_location=self.device)
        self.model.load_state_dict(state["model"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.progress = Progress(**state["progress"])

    def _steps(self) -> Iterator[list[Batch]]:
        recipe, waiting = self.recipe, list[Batch]()
        made = windows(self.progress.window, recipe.batch_tokens, recipe.config.max_positions, recipe.workers)
        for batches in made:
            for batch in batches:
                waiting.append(batch)
                if len(waiting) == recipe.batches_of_a_step:
                    yield waiting
                    waiting = []
            self.progress.window += 1

    def _step(self, batches: list[Batch]) -> Tensor:
        """Makes one update from several batches, in which all answer tokens have the same weight."""
        num_answers = sum(int(batch.is_answer.sum()) for batch in batches)
        total = torch.zeros((), device=self.device)
        for batch in batches:
            loss = self._loss(batch, self._prompt_weight()) / num_answers
            loss.backward()  # pyright: ignore[reportUnknownMemberType]
            total += loss.detach()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self._learning_rate()
            optimizer.step()
            optimizer.zero_grad()
        self.progress.step += 1
        return total

    def _loss(self, batch: Batch, prompt_weight: float = 0) -> Tensor:
        """The summed loss of answer tokens and, weighted, prompt tokens. The output layer skips all others."""
        targets = batch.ids[:, 1:]
        weights = np.where(batch.is_answer[:, 1:], 1.0, prompt_weight) * (targets != self.padding)
        places = np.flatnonzero(weights)
        hidden = self.model(self._tensor(batch.ids[:, :-1]).long()).flatten(0, 1)
        hidden = hidden.index_select(0, self._tensor(places))
        wanted = self._tensor(targets.ravel()[places]).long()
        losses = functional.cross_entropy(self.model.logits(hidden), wanted, reduction="none")
        return (losses * self._tensor(weights.ravel()[places].astype(np.float32))).sum()

    def _tensor(self, array: NDArray[np.generic]) -> Tensor:
        """Copies an array to the device, from pinned memory: a copy from other memory waits for all earlier work."""
        tensor = torch.from_numpy(np.ascontiguousarray(array))
        return tensor.pin_memory().to(self.device, non_blocking=True) if self.device.type == "cuda" else tensor

    def _prompt_weight(self) -> float:
        share_before_decay = 1 - self.recipe.decay_share
        return self.recipe.prompt_weight * max(0.0, 1 - self.progress.share(self.recipe) / share_before_decay)

    def _learning_rate(self) -> float:
        warmup = min(1.0, (self.progress.step + 1) / self.recipe.warmup_steps)
        left = max(0.0, 1 - self.progress.share(self.recipe))
        return self.recipe.learning_rate * min(warmup, left / self.recipe.decay_share, 1.0)


def load_model(checkpoint: Path) -> Decoder:
    """The model in a checkpoint, on the CPU, for inference."""
    state = torch.load(checkpoint, map_location="cpu")
    return Decoder.of(DecoderConfig(**state["config"]), state["model"])


def main() -> None:
    """Train the model, and write a checkpoint."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument(
        "--checkpoints", type=Path, required=True, help="directory; training resumes from a checkpoint in it"
    )
    parser.add_argument("--tokens", type=float, help="end after this many tokens")
    parser.add_argument(
        "--minutes", type=float, default=math.inf, help="end after this many minutes, if that is sooner"
    )
    parser.add_argument("--learning-rate", type=float, help="learning rate before it falls")
    parser.add_argument("--threads", type=int, help="CPU threads")
    parser.add_argument(
        "--from-served", type=int, metavar="WINDOW", help="start from the served weights at this window"
    )
    parser.add_argument("--workers", type=int, default=0, help="processes that make the corpus; a GPU needs about 12")
    parser.add_argument("--eager", action="store_true", help="do not use torch.compile")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    recipe = GPU_RECIPE if torch.cuda.is_available() else RECIPE
    recipe = replace(
        recipe,
        num_tokens=arguments.tokens or recipe.num_tokens,
        minutes=arguments.minutes,
        learning_rate=arguments.learning_rate or recipe.learning_rate,
        workers=arguments.workers,
        is_compiled=not arguments.eager,
        prompt_weight=recipe.prompt_weight
        if arguments.from_served is None
        else 0,  # the served weights can copy already
    )
    trainer = Trainer(recipe, arguments.checkpoints)
    if arguments.from_served is not None and not trainer.progress.step:
        trainer.start_from_served(arguments.from_served)
    trainer.run()


if __name__ == "__main__":
    main()
