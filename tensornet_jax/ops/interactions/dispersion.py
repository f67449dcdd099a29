"""Pairwise dispersion as added to density functionals: DFT-D2."""

import jax.numpy as jnp
import numpy as np
from ase import units
from jax import Array
from jaxtyping import Float

# C6 in J nm⁶/mol and van der Waals radius in Å of H to Xe: Table 1 of S. Grimme, J. Comput. Chem.
# 27, 1787 (2006), doi:10.1002/jcc.20495.
_TABLE = """
0.14 1.001  0.08 1.012
1.61 0.825  1.61 1.408
3.13 1.485  1.75 1.452  1.23 1.397  0.70 1.342  0.75 1.287  0.63 1.243
5.71 1.144  5.71 1.364
10.79 1.639  9.23 1.716  7.84 1.705  5.57 1.683  5.07 1.639  4.61 1.595
10.80 1.485  10.80 1.474
10.80 1.562  10.80 1.562  10.80 1.562  10.80 1.562  10.80 1.562
10.80 1.562  10.80 1.562  10.80 1.562  10.80 1.562  10.80 1.562
16.99 1.650  17.10 1.727  16.37 1.760  12.64 1.771  12.47 1.749  12.01 1.727
24.67 1.628  24.67 1.606
24.67 1.639  24.67 1.639  24.67 1.639  24.67 1.639  24.67 1.639
24.67 1.639  24.67 1.639  24.67 1.639  24.67 1.639  24.67 1.639
37.32 1.672  38.71 1.804  38.44 1.881  31.74 1.892  31.50 1.892  29.99 1.881
"""
_PARAMETERS = np.array(_TABLE.split(), np.float64).reshape(-1, 2)
D2_ELEMENTS = tuple(range(1, len(_PARAMETERS) + 1))
"""Atomic numbers that D2 has parameters for."""


def d2_parameters() -> tuple[Float[np.ndarray, " numbers"], Float[np.ndarray, " numbers"]]:
    """C6 in eV Å⁶ and radius in Å by atomic number, (55,) each; NaN for number 0."""
    c6, radii = np.insert(_PARAMETERS, 0, np.nan, axis=0).T
    return c6 * (units.J / units.mol * units.nm**6), radii


def d2_energies(
    distances: Float[Array, " pairs"],
    c6: tuple[Float[Array, " pairs"], Float[Array, " pairs"]],
    radii: tuple[Float[Array, " pairs"], Float[Array, " pairs"]],
    steepness: float = 20.0,
) -> Float[Array, " pairs"]:
    """−√(C6_i C6_j)/d⁶ · f(d) with f = 1/(1 + exp(−steepness (d/(R_i + R_j) − 1))) (Eqs. 11 to 13).

    Args:
        distances: (P,) Å, not 0.
        c6: (P,) eV Å⁶ of the one atom and of the other.
        radii: (P,) Å of the one and the other.
        steepness: d of the damping function.

    Returns:
        (P,) eV, with s6 = 1 and without a cutoff.
    """
    damping = 1 / (1 + jnp.exp(-steepness * (distances / (radii[0] + radii[1]) - 1)))
    return -jnp.sqrt(c6[0] * c6[1]) / distances**6 * damping
