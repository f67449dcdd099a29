"""Benchmarks that come with the package: the same code measures here and on your machine."""
