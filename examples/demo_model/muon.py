"""Muon, an optimizer for matrices between hidden states.

Jordan et al. 2024, https://kellerjordan.github.io/posts/muon

PyTorch's Muon multiplies in bf16, which is 20 times slower than f32 on CPUs without bf16 instructions, and repeats
the work in every process, a fifth of a training step of this model. This one batches matrices of equal shape,
multiplies in the precision of the gradients, and distributes the matrices over the processes.
"""

from __future__ import annotations

import collections
import math
from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor

COEFFICIENTS = (3.4445, -4.775, 2.0315)  # of the quintic polynomial, with a maximal slope at 0
ITERATIONS = 5


def orthogonal(matrices: Tensor) -> Tensor:
    """(N, rows, columns): moves the singular values of each matrix to about 1, by Newton-Schulz iterations."""
    a, b, c = COEFFICIENTS
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(ITERATIONS):
        square = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, then the nearest orthogonal matrix, scaled to the RMS of an AdamW update.

    Takes groups of parameters (rows, columns) with their "lr". All processes of a team must step together with the
    same gradients. This process is `rank` of `size`.
    """

    def __init__(self, groups: Iterable[dict], rank: int = 0, size: int = 1, momentum: float = 0.95,
                 weight_decay: float = 0.01) -> None:
        super().__init__(groups, {"lr": 0.0, "momentum": momentum, "weight_decay": weight_decay})
        self.rank, self.size = rank, size

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        shapes: dict[torch.Size, list[tuple[Tensor, dict]]] = collections.defaultdict(list)
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    shapes[p.shape].append((p, group))
        updates: list[tuple[Tensor, Tensor, dict]] = []
        for members in shapes.values():
            directions = torch.stack([self._direction(p, group["momentum"]) for p, group in members])
            mine = slice(self.rank, None, self.size)
            found = torch.zeros_like(directions)
            if len(directions[mine]):
                found[mine] = orthogonal(directions[mine])
            updates += [(p, update, group) for (p, group), update in zip(members, found)]
        if self.size > 1 and updates:
            whole = torch.cat([update.flatten() for _, update, _ in updates])
            dist.all_reduce(whole)
            parts = whole.split([update.numel() for _, update, _ in updates])
            updates = [(p, part.view_as(p), group) for (p, _, group), part in zip(updates, parts)]
        for p, update, group in updates:
            p.mul_(1 - group["lr"] * group["weight_decay"])
            p.sub_(update, alpha=group["lr"] * 0.2 * math.sqrt(max(p.shape)))

    def _direction(self, p: Tensor, momentum: float) -> Tensor:
        mean = self.state[p].setdefault("momentum_buffer", torch.zeros_like(p))
        mean.lerp_(p.grad, 1 - momentum)
        return p.grad.lerp(mean, momentum)
