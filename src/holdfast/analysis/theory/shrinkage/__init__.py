"""The regression theory of L2-SP (Li et al. 2018, §5.5.2)."""
