"""Training: losses, metrics, optimizers, the loop, and the report it leaves."""
