"""Regularised fine-tuning for PyTorch."""
