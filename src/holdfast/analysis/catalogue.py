"""The analyses by name, with the question that each answers."""

from __future__ import annotations

ANALYSES: dict[str, str] = {
    "predictions": "What does a method change in the predictions of a network?",
    "curves": "How did training go: loss, accuracy and learning rate over the epochs of several runs?",
    "angles": "Does a regulariser work against the task: the angles of their gradients, and losses, over iterations?",
    "gradients": "Do gradients still reach the deep layers: their norm at each stage over epochs?",
    "rifle-oracle": "Does RIFLE learn the first layer better: its two oracles, in every reading of the text?",
    "shrinkage": "Is the starting point a better place to shrink to: bias and variance in linear regression?",
    "toy-neuron": "Do random targets raise the variance of the gradient: one neuron, in closed form and simulated?",
}
"""Name on the command line: the question, in one line."""
