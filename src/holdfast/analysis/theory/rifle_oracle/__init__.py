"""RIFLE's experiment with an oracle (Li et al. 2020, §4.6.2)."""
