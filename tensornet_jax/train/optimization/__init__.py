"""What changes parameters: losses, optimizers and the jitted step."""
