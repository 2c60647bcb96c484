"""What training wrote down, over iterations and epochs."""
