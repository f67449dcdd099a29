"""Repulsion of nuclei screened by their electrons (Ziegler, Biersack and Littmark)."""

import jax.numpy as jnp
import numpy as np
from ase import units
from jax import Array
from jaxtyping import Float, Int

# Eq. 9 of J. F. Ziegler, J. P. Biersack, U. Littmark, The Stopping and Range of Ions in Solids,
# Pergamon (1985), the universal screening function: amplitudes and decay constants.
SCREENING = ((0.1818, 3.2), (0.5099, 0.9423), (0.2802, 0.4029), (0.02817, 0.2016))


def screening_lengths(
    numbers: Int[np.ndarray, " species"],
    prefactor: float,
    exponent: float,
    *,
    float32: bool = False,
) -> Float[np.ndarray, "species species"]:
    """prefactor · a₀/(Z_i^exponent + Z_j^exponent) of every two elements (Eq. 9).

    Args:
        numbers: (S,) atomic numbers; 0 stands for a dummy, which gets the length of hydrogen.
        prefactor: in Bohr radii; 0.8854 is that of Eq. 9.
        exponent: of the atomic numbers; 0.23 is that of Eq. 9.
        float32: round every step to float32, in meters, as torchmd-net does even in float64
            models; ZBL energies of such a model differ by 1e-7 of themselves from those without.

    Returns:
        (S, S) float64 Å.
    """
    charges = np.maximum(numbers, 1).astype(np.float64)
    length = prefactor * units.Bohr
    if not float32:
        powers = charges**exponent
        return length / (powers[:, None] + powers)
    powers = (charges ** float(np.float32(exponent))).astype(np.float32)
    inverse = np.float32(1) / (powers[:, None] + powers)
    return (inverse * np.float32(length * 1e-10)).astype(np.float64) * 1e10


def zbl_energies(
    distances: Float[Array, " pairs"],
    first: Float[Array, " pairs"],
    second: Float[Array, " pairs"],
    lengths: Float[Array, " pairs"],
    third_decay: float = SCREENING[2][1],
) -> Float[Array, " pairs"]:
    """Z_i Z_j/d · φ(d/a), φ the universal screening function (Eq. 10).

    Args:
        distances: (P,) Å, not 0.
        first: (P,) atomic numbers of the one atom, floating.
        second: (P,) of the other.
        lengths: (P,) screening lengths a, Å.
        third_decay: of φ, where a program has it otherwise.

    Returns:
        (P,) e²/Å, without a cutoff.
    """
    scaled = distances / lengths
    decays = [decay for _, decay in SCREENING]
    decays[2] = third_decay
    screening = sum(
        amplitude * jnp.exp(-decay * scaled)
        for (amplitude, _), decay in zip(SCREENING, decays, strict=True)
    )
    return first * second / distances * screening
