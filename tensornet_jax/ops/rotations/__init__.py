"""Rotations onto edges, and features in the frames of edges."""
