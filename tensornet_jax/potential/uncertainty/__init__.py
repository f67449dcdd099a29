"""How sure a potential is: standard deviations of energies, forces and stress."""
