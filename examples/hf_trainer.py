"""Fine-tune a Hugging Face classifier with the methods: HoldfastTrainer in place of Trainer."""

import tempfile

import numpy as np
import torch
from stripes import SOURCE, TARGET, pictures
from transformers import Trainer, TrainingArguments, ViTConfig, ViTForImageClassification

from holdfast.adapters.hf import HoldfastTrainer


def dataset(angles: list[int], per_class: int, seed: int) -> list[dict[str, torch.Tensor]]:
    return [{"pixel_values": x, "labels": y} for x, y in zip(*pictures(angles, per_class, seed), strict=True)]


def arguments(folder: str, epochs: int, lr: float) -> TrainingArguments:
    return TrainingArguments(
        output_dir=folder,
        num_train_epochs=epochs,
        per_device_train_batch_size=20,
        learning_rate=lr,
        weight_decay=0.05,
        lr_scheduler_type="cosine",
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
    )


def accuracy(result: tuple[np.ndarray, np.ndarray]) -> dict[str, float]:
    logits, labels = result
    return {"accuracy": float((logits.argmax(-1) == labels).mean())}


def main() -> float:
    torch.manual_seed(0)
    width = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    model = ViTForImageClassification(ViTConfig(image_size=16, patch_size=4, num_labels=len(SOURCE), **width))
    with tempfile.TemporaryDirectory() as folder:
        Trainer(model, arguments(folder, epochs=6, lr=2e-3), train_dataset=dataset(SOURCE, 100, seed=0)).train()
        model.classifier = torch.nn.Linear(32, len(TARGET))
        trainer = HoldfastTrainer(
            model,
            arguments(folder, epochs=12, lr=5e-4),
            train_dataset=dataset(TARGET, 10, seed=1),
            eval_dataset=dataset(TARGET, 100, seed=2),
            compute_metrics=accuracy,
            methods="dtnh(l2_sp(alpha=0.01))+ptr(R=3, m=1, T=inf)",
            head_lr=5e-3,
        )
        trainer.train()
        result = trainer.evaluate()
    print(f"test accuracy {result['eval_accuracy']:.3f} with {trainer.methods}")
    return result["eval_accuracy"]


if __name__ == "__main__":
    main()
