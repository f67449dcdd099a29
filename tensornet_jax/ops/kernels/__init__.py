"""Kernels for GPUs, written by hand where XLA would write down what only a sum needs."""
