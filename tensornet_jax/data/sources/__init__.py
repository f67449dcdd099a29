"""Structures by index, read from their files when they are asked for and held by nobody."""
