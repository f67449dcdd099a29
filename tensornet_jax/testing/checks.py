"""The checks of `tensornet_jax.testing`."""

from collections.abc import Callable, Sequence

import ase
import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.transform import Rotation

from tensornet_jax.data.labels.electronic_state import set_state, stated_charge, stated_spin
from tensornet_jax.potential.potential import Potential
from tensornet_jax.potential.results import Results
from tensornet_jax.properties import LABELLED, Property
from tensornet_jax.testing.deviations import Worst, scale_of
from tensornet_jax.testing.difference_quotients import (
    DISPLACEMENT,
    STRAIN,
    Energies,
    difference_from_quotient,
    numerical_forces,
    numerical_stresses,
    transformed,
)
from tensornet_jax.testing.models import Model, cutoff_of, need_float64, potential_of


def check_equivariance(
    model: Model,
    atoms: ase.Atoms,
    *,
    inversion: bool = True,
    tolerance: float = 1e-8,
    seed: int = 0,
) -> float:
    """Turn a structure and compare: the energy stays, forces and what else there is turn with it.

    Args:
        model: the potential.
        atoms: with a volume if the stress is to be compared too.
        inversion: turn the inverted structure as well; False for models of SO(3), which tell
            enantiomers apart.
        tolerance: relative to the largest number of each property.
        seed: of the rotation.

    Returns:
        the largest relative deviation.

    Raises:
        CheckError: it is above the tolerance.
    """
    turn = Rotation.random(rng=np.random.default_rng(seed)).as_matrix()
    properties, rows = _available(model, atoms), _rows(model)
    matrices = {"rotation": turn} | ({"inversion and rotation": -turn} if inversion else {})
    start, *found = _evaluate(
        model, [atoms, *(transformed(atoms, matrix) for matrix in matrices.values())], properties
    )
    worst = Worst()
    for (name, matrix), result in zip(matrices.items(), found, strict=True):
        for key in properties:
            expected = _turned(rows[key].rank, start[key], matrix)
            scale = scale_of(expected)
            worst.add(np.abs(result[key] - expected) / scale, f"{key} under {name}")
    return worst.judge(tolerance, "not equivariant: relative deviation", "")


def check_forces(
    model: Model, atoms: ase.Atoms, *, displacement: float = DISPLACEMENT, tolerance: float = 1e-6
) -> float:
    """Compare the forces on all atoms with central differences of the energy.

    Args:
        model: the potential, in float64: differences of float32 energies say nothing.
        atoms: best rattled, since at symmetric points wrong forces often vanish too.
        displacement: Å; where the energy is so curved that the difference quotient is not exact
            enough, half of it too.
        tolerance: eV/Å.

    Returns:
        the largest deviation, eV/Å.

    Raises:
        CheckError: it is above the tolerance.
        ValueError: the model computes in float32.
    """
    need_float64(model)
    (forces,) = (found["forces"] for found in _evaluate(model, [atoms], ("forces",)))

    def numerical(step: float) -> np.ndarray:
        return numerical_forces([atoms], _energies_of(model), step)[0]

    worst = Worst()
    for index, difference in enumerate(
        difference_from_quotient(forces, numerical, displacement, tolerance)
    ):
        worst.add(difference, f"atom {index} ({atoms.symbols[index]})")
    return worst.judge(tolerance, "forces are not −∂E/∂r: deviation", " eV/Å")


def check_stress(
    model: Model, atoms: ase.Atoms, *, strain: float = STRAIN, tolerance: float = 1e-6
) -> float:
    """Compare the stress with central differences of the energy under symmetric strains.

    Args:
        model: the potential, in float64.
        atoms: with a volume.
        strain: of each of the strains applied; half of it too, as in `check_forces`.
        tolerance: eV/Å³.

    Returns:
        the largest deviation, eV/Å³.

    Raises:
        CheckError: it is above the tolerance.
        ValueError: the model computes in float32.
    """
    need_float64(model)
    (stress,) = (found["stress"] for found in _evaluate(model, [atoms], ("stress",)))

    def numerical(step: float) -> np.ndarray:
        return numerical_stresses([atoms], _energies_of(model), step)[0]

    worst = Worst()
    for (a, b), difference in np.ndenumerate(
        difference_from_quotient(stress, numerical, strain, tolerance)
    ):
        worst.add(difference, f"component {'xyz'[a]}{'xyz'[b]}")
    return worst.judge(tolerance, "stress is not (1/V) ∂E/∂ε: deviation", " eV/Å³")


def check_extensive(
    model: Model, atoms: ase.Atoms, *, distance: float = 50.0, tolerance: float = 1e-10
) -> float:
    """Compare a structure with two of it: a supercell, or molecules far apart.

    Args:
        model: the potential.
        atoms: doubled along its first periodic direction, or else copied `distance` away.
        distance: Å between the two molecules, beyond the reach of the model.
        tolerance: relative.

    Returns:
        the largest relative deviation of energy and forces.

    Raises:
        CheckError: it is above the tolerance.
    """
    if atoms.pbc.any():
        copies = [1, 1, 1]
        copies[int(np.argmax(atoms.pbc))] = 2
        double = atoms.repeat(copies)
    else:
        other = atoms.copy()
        # Away from everything, and in a direction that no axis favors.
        extent = np.ptp(atoms.positions, axis=0).max(initial=0)
        other.positions += (distance + extent) * np.array([0.48, 0.6, 0.64])
        double = atoms + other
    charge, spin = stated_charge(atoms.info), stated_spin(atoms.info)
    set_state(
        double.info,
        None if charge is None else 2 * charge,
        # Twice the unpaired electrons.
        None if spin is None else 2 * spin - 1,
    )
    one, two = _evaluate(model, [atoms, double], ("energy", "forces"))
    worst = Worst()
    scale = scale_of(2 * one["energy"])
    worst.add(np.abs(two["energy"] - 2 * one["energy"]) / scale, "energy")
    expected = np.concatenate([one["forces"], one["forces"]])
    scale = scale_of(expected)
    worst.add(np.abs(two["forces"] - expected) / scale, "forces")
    return worst.judge(tolerance, "not extensive: relative deviation", "")


def check_smooth_at_cutoff(
    model: Model,
    atoms: ase.Atoms,
    *,
    cutoff: float | None = None,
    tolerance: float = 1e-3,
) -> float:
    """Draw an atom away through the cutoff: energy and force reach zero without a step.

    Args:
        model: the potential.
        atoms: what it is drawn away from, taken as not periodic: an atom like the outermost one
            is added outside of it, farther from all other atoms than from that one.
        cutoff: Å; None for the model's own, which a `Potential` and its calculator know: with
            energies beyond the network's cutoff, where the last of them ends.
        tolerance: of the energy and the force 1e-6 Å inside the cutoff, relative to those 0.1 Å
            inside; those of a function that goes to zero are 1e-5 and smaller.

    Returns:
        the largest of these ratios.

    Raises:
        CheckError: it is above the tolerance, or there is an interaction beyond the cutoff.
        ValueError: the cutoff is not known, there is none, or nothing interacts 0.1 Å inside it.
    """
    reach = cutoff_of(model) if cutoff is None else cutoff
    direction = np.array([0.48, 0.6, 0.64])
    start = ase.Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, info=atoms.info)
    outermost = int(np.argmax(start.positions @ direction))
    symbol = start.symbols[outermost]

    def drawn(distance: float) -> ase.Atoms:
        place = start.positions[outermost] + distance * direction
        return start + ase.Atoms([symbol], [place])

    depths = {"far inside": -0.1, "at": -1e-6, "beyond": 1e-6, "far beyond": 2 * reach}
    found = _evaluate(model, [drawn(reach + d) for d in depths.values()], ("energy", "forces"))
    results = dict(zip(depths, found, strict=True))
    apart = results["far beyond"]["energy"]
    energies = {name: abs(result["energy"] - apart) for name, result in results.items()}
    forces = {name: float(np.linalg.norm(r["forces"][-1])) for name, r in results.items()}
    if not (energies["far inside"] > 0 and forces["far inside"] > 0):
        raise ValueError(
            f"two {symbol} atoms {reach - 0.1:.3g} Å apart do not interact: nothing to check; is "
            f"the cutoff {reach:.3g} Å?"
        )
    worst = Worst()
    for place in ("at", "beyond"):
        where = f"1e-6 Å {'inside' if place == 'at' else 'beyond'} the cutoff of {reach:.6g} Å"
        # What is left of large energies in a difference is rounding.
        rounding = 1e-12 * abs(apart)
        change = max(energies[place] - rounding, 0.0)
        worst.add(change / energies["far inside"], f"energy {where}")
        worst.add(forces[place] / forces["far inside"], f"force {where}")
    return worst.judge(tolerance, "a step at the cutoff: what remains of 0.1 Å inside is", "")


def check_batching(
    model: Model, structures: Sequence[ase.Atoms], *, tolerance: float = 1e-10
) -> float:
    """Compare structures evaluated together, one by one, and in the opposite order.

    A batch pads and concatenates graphs, and a calculator keeps arrays and a neighbor list
    between structures: neither may be seen in the results.

    Args:
        model: the potential.
        structures: best of different sizes and elements.
        tolerance: relative to the largest number of each property.

    Returns:
        the largest relative deviation.

    Raises:
        CheckError: it is above the tolerance.
    """
    properties = ("energy", "forces")
    together = _evaluate(model, structures, properties)
    backwards = _evaluate(model, structures[::-1], properties)[::-1]
    alone = [_evaluate(model, [atoms], properties)[0] for atoms in structures]
    worst = Worst()
    for index, start in enumerate(together):
        for name, others in (("in the opposite order", backwards), ("by itself", alone)):
            for key in properties:
                scale = scale_of(start[key])
                deviation = np.abs(others[index][key] - start[key]) / scale
                worst.add(deviation, f"{key} of structure {index} {name}")
    return worst.judge(tolerance, "results depend on the batch: relative deviation", "")


def _turned(rank: int, value: ArrayLike, matrix: np.ndarray) -> np.ndarray:
    """A property of given rank, its last axes turned."""
    value = np.asarray(value)
    for axis in range(value.ndim - rank, value.ndim):
        value = np.moveaxis(np.tensordot(matrix, value, (1, axis)), 0, axis)
    return value


def _rows(model: Model) -> dict[str, Property]:
    """What the model may have: of another calculator, what ASE's getters return."""
    potential = potential_of(model)
    found = {row.name: row for row in LABELLED}
    return found if potential is None else found | {h.name: h.row for h in potential.tensor_heads}


def _available(model: Model, atoms: ase.Atoms) -> tuple[str, ...]:
    """The properties the model has and the structure can have."""
    known = model.properties if isinstance(model, Potential) else model.implemented_properties
    has = {"periodic": bool(atoms.pbc.any()), "has_volume": atoms.cell.rank == 3}
    rows = _rows(model).items()
    return tuple(name for name, row in rows if name in known and row.why_not(**has) is None)


def _evaluate(
    model: Model, structures: Sequence[ase.Atoms], properties: Sequence[str]
) -> list[Results]:
    if isinstance(model, Potential):
        # The same properties in every check, for another set of them would compile again.
        common = set(_rows(model)).intersection(*(_available(model, atoms) for atoms in structures))
        return model.evaluate(list(structures), tuple(common.union(properties)))
    results = []
    for atoms in structures:
        # A structure of our own: the caller's keeps its calculator, and constraints would zero
        # forces.
        copy = atoms.copy()
        copy.set_constraint()
        copy.calc = model
        read: dict[str, Callable[[], ArrayLike]] = {
            "energy": copy.get_potential_energy,
            "forces": copy.get_forces,
            "stress": lambda copy=copy: copy.get_stress(voigt=False),
            "dipole": copy.get_dipole_moment,
        }
        results.append(
            {
                name: np.array(read[name]() if name in read else model.get_property(name, copy))
                for name in properties
            }
        )
    return results


def _energies_of(model: Model) -> Energies:
    return lambda structures: [
        float(found["energy"]) for found in _evaluate(model, structures, ("energy",))
    ]
