"""Public data sets and potentials: where they are, and how they are downloaded."""
