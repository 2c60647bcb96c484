"""The analyses by name, with the question that each answers."""

from __future__ import annotations

ANALYSES: dict[str, str] = {
    "predictions": "What does a method change in the predictions of a network?",
    "curves": "How did training go: loss, accuracy and learning rate over the epochs of several runs?",
    "angles": "Does a regulariser work against the task: the angles of their gradients, and losses, over iterations?",
    "gradients": "Do gradients still reach the deep layers: their norm at each stage over epochs?",
    "source-drop": "What did fine-tuning forget: accuracy lost on the source task, with the original head?",
    "similarity": "Do units keep their roles: R² of each unit's activation after fine-tuning on that before?",
    "fisher": "Which layers does the source task depend on: the diagonal Fisher information of their weights?",
    "gains": "Which methods of a comparison help, and on what: by data, by images per class, by source?",
    "freeze-sweep": "Does it help to freeze the first layers, with and without a pull to the starting point?",
    "alpha-beta-grid": "How strong should L²-SP pull: accuracy over α on the old layers and β on the new head?",
    "rmt-sweep": "How much do PtR's three parameters matter: accuracy over R, m and T?",
    "rifle-oracle": "Does RIFLE learn the first layer better: its two oracles, in every reading of the text?",
    "shrinkage": "Is the starting point a better place to shrink to: bias and variance in linear regression?",
    "toy-neuron": "Do random targets raise the variance of the gradient: one neuron, in closed form and simulated?",
}
"""Name on the command line: the question, in one line."""
