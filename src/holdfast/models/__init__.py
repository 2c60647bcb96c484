"""Pre-trained networks: building, loading weights, finding the head and the representation."""
