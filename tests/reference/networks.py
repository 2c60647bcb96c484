"""Two networks small enough for slow oracles: one with batch-norm, one with layer-norm; both in float64."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

HEAD = "head"
STAGES = ("stage1", "stage2")


class ConvNet(nn.Module):
    """Two convolutional stages with batch-norm and a residual sum, pooling, a linear head."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        self.stage1 = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.BatchNorm2d(5), nn.Tanh())
        self.stage2 = nn.Sequential(nn.Conv2d(5, 5, 3, padding=1, bias=False), nn.BatchNorm2d(5), nn.Tanh())
        self.head = nn.Linear(5, classes)

    def forward(self, x: Tensor) -> Tensor:
        a = self.stage1(x)
        return self.head((a + self.stage2(a)).mean((2, 3)))


class TokenNet(nn.Module):
    """A linear embedding of pixels with a learnt position, two layer-normed blocks, mean pooling, a linear head."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        self.embed = nn.Linear(3, 6)
        self.position = nn.Parameter(0.1 * torch.randn(36, 6))
        self.stage1 = nn.Sequential(nn.LayerNorm(6), nn.Linear(6, 6), nn.GELU())
        self.stage2 = nn.Sequential(nn.LayerNorm(6), nn.Linear(6, 6), nn.GELU())
        self.head = nn.Linear(6, classes)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.embed(x.flatten(2).transpose(1, 2)) + self.position
        tokens = tokens + self.stage1(tokens)
        tokens = tokens + self.stage2(tokens)
        return self.head(tokens.mean(1))


def conv_net(seed: int = 0, classes: int = 4) -> ConvNet:
    """A `ConvNet` in float64 and training mode; the global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ConvNet(classes).double().train()


def token_net(seed: int = 0, classes: int = 4) -> TokenNet:
    """A `TokenNet` in float64 and training mode; the global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return TokenNet(classes).double().train()


def source_head(make: Callable[[], nn.Module], classes: int = 7) -> nn.Linear:
    """The head that the network had for its source task, in float64; the global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        return nn.Linear(make().get_submodule(HEAD).in_features, classes).double()


def image_batches(count: int = 3, size: int = 6, classes: int = 4, seed: int = 1) -> Sequence[tuple[Tensor, Tensor]]:
    """`count` batches of `size` random 6×6 colour images with random labels."""
    generator = torch.Generator().manual_seed(seed)
    return [
        (
            torch.randn(size, 3, 6, 6, generator=generator, dtype=torch.float64),
            torch.randint(classes, (size,), generator=generator),
        )
        for _ in range(count)
    ]
