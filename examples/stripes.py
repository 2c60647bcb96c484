"""Noisy pictures of stripes, one angle per class, and a network that has learned other angles: small enough to make."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SOURCE = [0, 45, 90, 135]
TARGET = [20, 65, 110, 155]


def pictures(angles: list[int], per_class: int, seed: int) -> tuple[Tensor, Tensor]:
    """Images (B, 3, 16, 16) and the index of each one's angle (B,), in random order."""
    gen = torch.Generator().manual_seed(seed)
    y = torch.arange(len(angles)).repeat(per_class)[torch.randperm(len(angles) * per_class, generator=gen)]
    turn = torch.tensor(angles)[y] * math.pi / 180
    row, column = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    along = turn.cos().view(-1, 1, 1) * column + turn.sin().view(-1, 1, 1) * row
    shift = torch.rand(len(y), 1, 1, generator=gen) * 2 * math.pi
    waves = torch.sin(1.3 * along + shift).unsqueeze(1).expand(-1, 3, -1, -1)
    return waves + 1.8 * torch.randn(waves.shape, generator=gen), y


def pretrained() -> nn.Sequential:
    """A convolutional network trained on the source angles, with a new head for the target's."""
    torch.manual_seed(0)
    body = [nn.Conv2d(3, 16, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3), nn.ReLU()]
    model = nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, len(SOURCE)))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    x, y = pictures(SOURCE, per_class=100, seed=0)
    for _ in range(8):
        for part, label in zip(x.split(40), y.split(40), strict=True):
            optimizer.zero_grad()
            F.cross_entropy(model(part), label).backward()
            optimizer.step()
    model[-1] = nn.Linear(32, len(TARGET))
    return model
