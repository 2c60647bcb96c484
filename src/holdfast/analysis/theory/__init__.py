"""What can be calculated or simulated without pictures."""
