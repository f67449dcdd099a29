"""What can be sampled: the section of each ensemble, and what makes its steps on each engine."""
