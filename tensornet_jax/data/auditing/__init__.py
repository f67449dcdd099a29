"""What is wrong with a data set, known before the first training step."""
