"""The neighbor lists of a simulation."""
