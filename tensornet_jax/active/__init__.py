"""Active learning: train, explore by dynamics, select, label, and train on.

`loop.run` does what a configuration says; `layout` has the names of all files.
"""
