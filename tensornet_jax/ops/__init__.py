"""Pure functions without parameters: the mathematics the models are written in."""
