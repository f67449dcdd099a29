"""Ways to take a step."""
