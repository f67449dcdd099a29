"""Potentials as compiled functions that evaluate without this package."""
