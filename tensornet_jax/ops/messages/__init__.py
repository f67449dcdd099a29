"""Sums over the edges at each atom: the hot loops."""
