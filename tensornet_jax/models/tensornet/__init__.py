"""TensorNet (arXiv:2306.06482)."""
