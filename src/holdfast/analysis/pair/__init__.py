"""Two runs asked about the same pictures."""
