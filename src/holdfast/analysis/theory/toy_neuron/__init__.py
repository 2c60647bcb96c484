"""PtR's theory of one neuron (Zhong & Maki 2020, §2.3)."""
