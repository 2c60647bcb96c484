"""The papers' data sets by name: facts, archives, official lists, splits."""
