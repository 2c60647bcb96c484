"""Recipes, repeated runs, stored results and their statistics."""
