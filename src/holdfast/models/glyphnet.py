"""A convolutional network small enough to ship, pre-trained on ``holdfast.data.glyphs``.

``scripts/pretrain_glyphnet.py`` made the weights beside this file. They are stored in half precision;
``load_state_dict`` widens them.
"""

from __future__ import annotations

from torch import Tensor, nn

WIDTHS = (32, 64, 64, 128, 96)
SOURCE_CLASSES = 80


class GlyphNet(nn.Module):
    """Five 3×3 convolutions with batch-norm, global average pooling and the head ``fc``; 0.25 million parameters.

    Input (B, 3, 16, 16) from ``holdfast.data.glyphs.as_input``; any size from 4×4 works. The representation is
    what enters ``fc``: (B, 96), non-negative.
    """

    def __init__(self, num_classes: int = SOURCE_CLASSES) -> None:
        """Build the network with random weights.

        Args:
            num_classes: rows of the head.
        """
        super().__init__()
        before = (3, *WIDTHS[:-1])
        layers: list[nn.Module] = []
        for place, (inputs, outputs) in enumerate(zip(before, WIDTHS, strict=True)):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
            if place in (0, 2):
                layers.append(nn.MaxPool2d(2))
        self.body = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten(1)
        self.fc = nn.Linear(WIDTHS[-1], num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (B, num_classes)."""
        logits: Tensor = self.fc(self.flatten(self.pool(self.body(x))))
        return logits
