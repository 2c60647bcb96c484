"""Pre-train GlyphNet on deformed printed characters and write the weights that the package ships.

python scripts/pretrain_glyphnet.py        # about five minutes on a free core
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

import holdfast.models.glyphnet
from holdfast.data.glyphs import Glyphs, as_input, deform, render
from holdfast.models.glyphnet import GlyphNet

BATCH = 128
PEAK_RATE = 6e-3
WEIGHT_DECAY = 1e-2
SMOOTHING = 0.05
WEIGHTS = Path(holdfast.models.glyphnet.__file__).with_suffix(".safetensors")


def draw_batch(glyphs: Glyphs, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw characters and fonts uniformly over what was rendered, each bent anew."""
    places = torch.randint(len(glyphs.labels), (BATCH,), generator=generator)
    return as_input(deform(glyphs.images[places], generator)), glyphs.labels[places]


def pretrain(glyphs: Glyphs, steps: int, seed: int) -> GlyphNet:
    """Train from scratch with AdamW and one cycle of the rate, printing the running loss."""
    torch.manual_seed(seed)  # the network's initial weights
    generator = torch.Generator().manual_seed(seed)
    model = GlyphNet(len(glyphs.classes))
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_RATE, total_steps=steps)
    losses, started = [], time.perf_counter()
    for step in range(1, steps + 1):
        x, y = draw_batch(glyphs, generator)
        loss = F.cross_entropy(model(x), y, label_smoothing=SMOOTHING)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        if step % 250 == 0 or step == steps:
            recent = sum(losses[-250:]) / len(losses[-250:])
            print(f"step {step}/{steps}  loss {recent:.3f}  {time.perf_counter() - started:.0f} s", flush=True)
    return model


@torch.no_grad()
def accuracy(model: GlyphNet, glyphs: Glyphs, seed: int, batches: int = 40) -> float:
    """The share of fresh glyphs, same fonts but other deformations, that the network names rightly."""
    model.eval()
    generator = torch.Generator().manual_seed(seed)
    right = 0
    for _ in range(batches):
        x, y = draw_batch(glyphs, generator)
        right += int((model(x).argmax(dim=1) == y).sum())
    return right / (batches * BATCH)


def main() -> None:
    """Run the pre-training with the settings that made the shipped file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    options = parser.parse_args()
    glyphs = render()
    model = pretrain(glyphs, options.steps, options.seed)
    half = {name: t.half() if t.is_floating_point() else t for name, t in model.state_dict().items()}
    model.load_state_dict(half)  # so that the printed accuracy is that of the stored weights
    share = accuracy(model, glyphs, options.seed + 1)
    metadata = {"classes": glyphs.classes, "steps": str(options.steps), "seed": str(options.seed)}
    save_file(half, options.out, metadata=metadata)
    options.out.chmod(0o644)  # safetensors writes for the owner alone
    size = options.out.stat().st_size / 1e3
    print(f"accuracy on fresh glyphs {share:.4f} ({len(glyphs.classes)} classes); wrote {options.out}, {size:.0f} kB")


if __name__ == "__main__":
    main()
