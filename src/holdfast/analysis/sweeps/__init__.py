"""A comparison's stored results read over what was varied in it."""
