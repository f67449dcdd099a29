"""Structures and their labels: reading, checking, splitting, batching. Never imports jax."""
