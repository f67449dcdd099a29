"""mace-torch's ZBL repulsion as a prior of this package.

Its constants are its own: 14.3996 eV Å for e², 0.529 Å for the Bohr radius, and 0.4028 for one of
the decays of the screening function.
"""

import numpy as np
from ase import data, units

from tensornet_jax.interop.torch.state_dict import StateDict
from tensornet_jax.models.physics.config import ZBL, AnyPrior
from tensornet_jax.ops.interactions.zbl import SCREENING
from tensornet_jax.units import COULOMB

E_SQUARED = 14.3996
BOHR = 0.529
DECAY = 0.4028
NAME = "pair_repulsion_fn"


def zbl_prior(state: StateDict, scale: float) -> ZBL:
    """Return the prior.

    Args:
        state: of the model.
        scale: by which mace-torch multiplies this energy too.

    Raises:
        ValueError: amplitudes of the screening function or radii are not the usual ones.
    """
    amplitudes = [amplitude for amplitude, _ in SCREENING]
    if not np.allclose(state.take(f"{NAME}.c"), amplitudes, rtol=1e-6):
        raise ValueError(f"{NAME}.c differs from the universal screening function")
    radii = state.take(f"{NAME}.covalent_radii")
    if not np.allclose(radii, data.covalent_radii[: len(radii)], rtol=1e-6):
        raise ValueError(f"{NAME}.covalent_radii differ from ASE's")
    return ZBL(
        scale=scale * E_SQUARED / COULOMB,
        prefactor=float(state.take(f"{NAME}.a_prefactor")) * BOHR / units.Bohr,
        exponent=float(state.take(f"{NAME}.a_exp")),
        envelope_exponent=int(state.take(f"{NAME}.p")),
        third_decay=DECAY,
    )


def is_of_mace(prior: AnyPrior, scale: float, exponent: int, rounding: float = 1e-12) -> bool:
    """Whether mace-torch has this prior, in a model of an energy scale and cutoff exponent.

    Args:
        prior: of a potential.
        scale: eV.
        exponent: of the cutoff function.
        rounding: what the scale may differ by, relative to it.
    """
    return (
        isinstance(prior, ZBL)
        and prior.cutoff is None
        and prior.third_decay == DECAY
        and prior.envelope_exponent == exponent
        and bool(np.isclose(prior.scale, scale * E_SQUARED / COULOMB, rtol=rounding))
    )


def zbl_tensors(prior: AnyPrior, dtype: np.dtype) -> dict[str, np.ndarray]:
    """Return the tensors of mace-torch's ZBLBasis; `zbl_prior` backwards.

    Args:
        prior: for which `is_of_mace`.
        dtype: of the tensors.
    """
    assert isinstance(prior, ZBL)
    start = prior.prefactor * units.Bohr / BOHR
    # Of the numbers that rounding leaves to choose from, the one that makes this prefactor.
    near = [start, *(np.nextafter(start, end) for end in (0.0, 1.0))]
    exact = [value for value in near if value * BOHR / units.Bohr == prior.prefactor]
    return {
        f"{NAME}.c": np.array([amplitude for amplitude, _ in SCREENING], dtype),
        f"{NAME}.p": np.asarray(prior.envelope_exponent, np.int32),
        f"{NAME}.covalent_radii": data.covalent_radii.astype(dtype),
        f"{NAME}.a_exp": np.asarray(prior.exponent, dtype),
        f"{NAME}.a_prefactor": np.asarray((exact or near)[0], dtype),
    }
