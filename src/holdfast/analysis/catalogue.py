"""The analyses by name, with the question that each answers."""

from __future__ import annotations

ANALYSES: dict[str, str] = {
    "rifle-oracle": "Does RIFLE learn the first layer better: its two oracles, in every reading of the text?",
    "shrinkage": "Is the starting point a better place to shrink to: bias and variance in linear regression?",
    "toy-neuron": "Do random targets raise the variance of the gradient: one neuron, in closed form and simulated?",
}
"""Name on the command line: the question, in one line."""
