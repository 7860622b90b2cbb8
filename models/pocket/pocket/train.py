"""Trains the model on the corpus, on a GPU where there is one; it knows neither skills nor ONNX.

`python -m pocket.train --checkpoints DIR` starts, or goes on where DIR's checkpoint stands; with `--from-served
WINDOW` it starts with the weights that ship, where their checkpoint is not at hand.
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

from models.export.decoder_config import DecoderConfig
from pocket.batches import Batch, batches_of, windows
from pocket.chat_format import PADDING, example
from pocket.corpus import evaluation_conversations
from pocket.decoder import Decoder
from pocket.generate import load_served
from pocket.muon import Muon
from pocket.tokenizer import VOCAB_SIZE, load_tokenizer, token_id

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
"""Of the loss: to read it waits for a GPU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What a run is made of; training ends, and the learning rate falls to nothing, at the first limit reached."""

    config: DecoderConfig = CONFIG
    num_tokens: float = 30e6
    minutes: float = math.inf
    batch_tokens: int = 2048
    batches_of_a_step: int = 2
    learning_rate: float = 4e-3
    weight_decay: float = 0.0
    """Of the layers' matrices, so that they do not grow over a long run."""
    warmup_steps: int = 100
    decay_share: float = 0.45
    """Of the run, at its end, over which the learning rate falls to nothing."""
    prompt_weight: float = 0.3
    """What a token of a prompt counts at the start, an answer's being 1; nothing once the learning rate falls."""
    checkpoint_every_s: float = 180
    is_rough: bool = True
    """Multiply in bfloat16: quicker where the processor has AMX, or on a GPU."""
    is_compiled: bool = True
    """Fuse what stands between the products; costs half a minute at the start."""
    workers: int = 0
    """Processes that make the corpus; without any it is made between two steps."""
    seed: int = 1


RECIPE = Recipe()
GPU_RECIPE = replace(
    RECIPE, num_tokens=790e6, batch_tokens=32_768, batches_of_a_step=1, weight_decay=0.05, checkpoint_every_s=60
)
"""Larger steps, since a GPU takes them in the same time, and as many tokens as the shipped model saw on one."""


@dataclass(slots=True)
class Progress:
    """How far a run is."""

    step: int = 0
    num_tokens: int = 0
    elapsed_s: float = 0
    window: int = 0
    """The first window of the corpus that is not wholly used."""

    def share(self, recipe: Recipe) -> float:
        """0 at the start, 1 at the end."""
        return max(self.num_tokens / recipe.num_tokens, self.elapsed_s / (60 * recipe.minutes))


class Trainer:
    """A model with its optimisers and progress: Muon for the layers' matrices, AdamW for the rest."""

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
            torch.backends.cuda.enable_cudnn_sdp(enabled=False)  # it plans anew for every shape, 140 ms a step
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
        """Begins with the weights that ship, at a window of the corpus; the optimisers know nothing yet."""
        self.model.load_state_dict(load_served().state_dict())
        self.progress.window = window

    def run(self) -> None:
        """Trains to the end of the recipe."""
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
        """The mean over answer tokens of some evaluation conversations."""
        tokenizer = load_tokenizer()
        examples = [example(one, tokenizer) for one in evaluation_conversations(count_of_a_skill)]
        total = num_answers = 0.0
        with torch.inference_mode():
            for batch in batches_of(examples, self.recipe.batch_tokens):
                total += self._loss(batch).item()
                num_answers += int(batch.is_answer.sum())
        return total / num_answers

    def save(self) -> None:
        """Writes the checkpoint, whole or not at all."""
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
        """One update from several batches; each answer token counts the same."""
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
        """The sum over answer tokens, and over a prompt's with their weight; the output layer sees no others."""
        targets = batch.ids[:, 1:]
        weights = np.where(batch.is_answer[:, 1:], 1.0, prompt_weight) * (targets != self.padding)
        places = np.flatnonzero(weights)
        hidden = self.model(self._tensor(batch.ids[:, :-1]).long()).flatten(0, 1)
        hidden = hidden.index_select(0, self._tensor(places))
        wanted = self._tensor(targets.ravel()[places]).long()
        losses = functional.cross_entropy(self.model.logits(hidden), wanted, reduction="none")
        return (losses * self._tensor(weights.ravel()[places].astype(np.float32))).sum()

    def _tensor(self, array: NDArray[np.generic]) -> Tensor:
        """On the device; from pinned memory, since a copy from other memory waits for all that came before."""
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
    """The model of a checkpoint, on the CPU, for inference."""
    state = torch.load(checkpoint, map_location="cpu")
    return Decoder.of(DecoderConfig(**state["config"]), state["model"])


def main() -> None:
    """Trains to a checkpoint."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--checkpoints", type=Path, required=True, help="directory; a checkpoint in it is gone on from")
    parser.add_argument("--tokens", type=float, help="end after so many")
    parser.add_argument("--minutes", type=float, default=math.inf, help="end after so long, if that is sooner")
    parser.add_argument("--learning-rate", type=float, help="before it falls")
    parser.add_argument("--threads", type=int, help="CPU threads")
    parser.add_argument("--from-served", type=int, metavar="WINDOW", help="go on from the served weights, at a window")
    parser.add_argument("--workers", type=int, default=0, help="processes that make the corpus; a GPU wants a dozen")
    parser.add_argument("--eager", action="store_true", help="without torch.compile")
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
        prompt_weight=recipe.prompt_weight if arguments.from_served is None else 0,  # served weights can copy
    )
    trainer = Trainer(recipe, arguments.checkpoints)
    if arguments.from_served is not None and not trainer.progress.step:
        trainer.start_from_served(arguments.from_served)
    trainer.run()


if __name__ == "__main__":
    main()
