"""What a trained network kept of its starting point."""
