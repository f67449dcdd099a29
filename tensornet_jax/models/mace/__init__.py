"""MACE (arXiv:2206.07697) with exchangeable tensor products."""
