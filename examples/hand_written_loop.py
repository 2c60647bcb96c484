"""Fine-tune with RIFLE, DTNH around L2-SP, and PtR in a loop of one's own: only the lines with `methods` are new."""

import torch
import torch.nn.functional as F
from stripes import TARGET, pictures, pretrained
from torch.utils.data import DataLoader, TensorDataset

import holdfast

EPOCHS = 10


def main() -> float:
    torch.manual_seed(0)
    loader = DataLoader(TensorDataset(*pictures(TARGET, per_class=5, seed=1)), batch_size=10, shuffle=True)
    methods = holdfast.compose("rifle(periods=2)+dtnh(l2_sp(alpha=0.01))+ptr(R=3, m=1, T=inf)")
    model = methods.prepare(pretrained(), total_steps=EPOCHS * len(loader), steps_per_epoch=len(loader))
    groups = methods.param_groups(model, lr=3e-3, head_lr=3e-2)
    optimizer = torch.optim.SGD(groups, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS * len(loader))
    for epoch in range(EPOCHS):
        for x, y in loader:
            x, y = methods.on_batch(x, y)  # needed only where a method changes batches or reads labels
            loss = methods.loss(F.cross_entropy(model(x), y))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            methods.step(optimizer)
            scheduler.step()
        shown = {name: round(float(value), 2) for name, value in methods.log.items() if name in ("ptr.w", "dtnh.angle")}
        print(f"epoch {epoch}: loss {loss.item():.3f} {shown}")
    methods.on_fit_end(model)
    x, y = pictures(TARGET, per_class=100, seed=2)
    with torch.no_grad():
        accuracy = (model.eval()(x).argmax(1) == y).float().mean().item()
    print(f"test accuracy {accuracy:.3f}")
    return accuracy


if __name__ == "__main__":
    main()
