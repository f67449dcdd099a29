"""What physics adds to a network: priors, Coulomb energies, total charge and spin."""
