"""Spherical harmonics, how they couple, and quadrature on the sphere."""
