"""Energies that physics gives: Coulomb, Ewald, dispersion, repulsion of nuclei."""
