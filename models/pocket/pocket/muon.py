"""Muon for many matrices of few shapes: it updates all matrices of one shape with the same products.

torch.optim.Muon takes one matrix after another: 1,600 small operations a step of this model, which a GPU waits for.
Momentum, coefficients and scale are its own, with the learning rate that matches AdamW's.
"""

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor

MOMENTUM = 0.95
NEWTON_SCHULZ_STEPS = 5
FIRST, THIRD, FIFTH = 3.4445, -4.7750, 2.0315
"""Coefficients of the polynomial that moves singular values towards one."""
SMALLEST_NORM = 1e-7


class Muon(torch.optim.Optimizer):
    """An optimizer that steps by momentum matrices made nearly orthogonal."""

    def __init__(self, matrices: Iterable[Tensor], lr: float = 1e-3, weight_decay: float = 0.0) -> None:
        by_shape: dict[torch.Size, list[Tensor]] = defaultdict(list)
        for matrix in matrices:
            by_shape[matrix.shape].append(matrix)
        groups = [{"params": alike} for alike in by_shape.values()]
        super().__init__(groups, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:
        """One update of every matrix."""
        for group in self.param_groups:
            alike, lr = group["params"], group["lr"]
            gradients = torch.stack([matrix.grad for matrix in alike])
            state = self.state[alike[0]]
            if not state:
                state["momentum"] = torch.zeros_like(gradients)
            momentum = state["momentum"].lerp_(gradients, 1 - MOMENTUM)
            update = orthogonalized(gradients.lerp(momentum, MOMENTUM)).to(gradients.dtype)
            torch._foreach_mul_(alike, 1 - lr * group["weight_decay"])
            torch._foreach_add_(alike, list(update.unbind()), alpha=-lr * 0.2 * max(update.shape[1:]) ** 0.5)


def orthogonalized(matrices: Tensor) -> Tensor:
    """The matrices (N, R, C) in bfloat16, with all singular values moved near one."""
    is_tall = matrices.shape[1] > matrices.shape[2]
    found = (matrices.mT if is_tall else matrices).bfloat16()
    found = found / found.norm(dim=(1, 2), keepdim=True).clamp(min=SMALLEST_NORM)
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = found @ found.mT
        found = torch.baddbmm(found, torch.baddbmm(gram, gram, gram, beta=THIRD, alpha=FIFTH), found, beta=FIRST)
    return found.mT if is_tall else found
