from pathlib import Path

import torch

from pocket.decoder import Decoder
from pocket.export import mix
from pocket.muon import Muon
from pocket.smoke import RECIPE, smoke


def test_the_whole_recipe_runs_at_a_small_scale(tmp_path: Path) -> None:
    first, last = smoke(tmp_path)
    assert last < first - 1


def test_matrices_updated_together_equal_those_that_pytorch_updates_one_by_one() -> None:
    torch.manual_seed(1)
    shapes = [(8, 8), (4, 8), (16, 8), (8, 16), (8, 8)]
    ours = [torch.nn.Parameter(torch.randn(shape)) for shape in shapes]
    theirs = [torch.nn.Parameter(matrix.detach().clone()) for matrix in ours]
    optimizers = [
        Muon(ours, lr=1, weight_decay=0.1),
        torch.optim.Muon(theirs, lr=1, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
    ]
    for _ in range(3):
        for one, other in zip(ours, theirs, strict=True):
            one.grad = torch.randn_like(one)
            other.grad = one.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    assert all(torch.allclose(one, other, atol=0.02) for one, other in zip(ours, theirs, strict=True))


def test_a_mix_is_the_mean_of_both_models_weights() -> None:
    one, other = Decoder(RECIPE.config), Decoder(RECIPE.config)
    mixed = dict(mix(one, other, 0.75).named_parameters())
    theirs = dict(other.named_parameters())
    for name, weight in one.named_parameters():
        assert torch.allclose(mixed[name], 0.25 * weight + 0.75 * theirs[name], atol=1e-6)
