"""What openmm-ml finds by the name "tensornet_jax", and asks to add forces to a System.

Names of methods and arguments are openmm-ml's. jax is imported when a potential is made: openmm-ml
imports this module whenever it is imported itself.
"""

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from openmmml.mlpotential import MLPotentialImpl, MLPotentialImplFactory

from tensornet_jax.interop.openmm.types import System, Topology

if TYPE_CHECKING:
    from tensornet_jax.interop.openmm.forces import MLAtoms
    from tensornet_jax.potential.potential import Potential

NAME = "tensornet_jax"
"""Name in `MLPotential`."""

ELECTROSTATIC = "electrostatic"
"""Name of the embedding in which predicted charges feel point charges."""

# Of openmm-ml's embeddings, which get all arguments, as the potential does.
EMBEDDING_OPTIONS = frozenset({"mlLongRange", "linkAtomDistances"})
OPTIONS = ("charge", "spin", "charges")


class TensorNetFactory(MLPotentialImplFactory):
    """Makes what `MLPotential("tensornet_jax", modelPath=…)` stands for."""

    def createImpl(  # noqa: N802 (openmm-ml's name)
        self,
        name: str,
        modelPath: "str | os.PathLike[str] | Potential | None" = None,
        dtype: str | None = None,
        skin: float = 0.5,
        head: str | None = None,
        **args: object,
    ) -> "TensorNetImpl":
        """Load a model.

        Args:
            name: as it is registered.
            modelPath: a model file, or a potential.
            dtype: "float32" or "float64" to compute in; None for the model's own.
            skin: Å that neighbor lists reach beyond the cutoff.
            head: level of theory, of a model with several heads.
            args: none.

        Raises:
            ValueError: no model, an unusable model file, an unknown dtype, a negative skin, or
                another argument.
        """
        from tensornet_jax.calculator import Calculator

        if args:
            raise ValueError(
                f"{', '.join(args)}: MLPotential takes modelPath, dtype, skin and head; charge, "
                "spin and charges are arguments of createSystem and createMixedSystem"
            )
        if modelPath is None:
            raise ValueError(f'no model: MLPotential("{name}", modelPath="model.safetensors")')
        # It checks its arguments.
        return TensorNetImpl(Calculator(modelPath, dtype, skin, head=head).potential, skin)


class TensorNetImpl(MLPotentialImpl):
    """A potential of this package for `createSystem` and `createMixedSystem`.

    Both take `charge` (of the ML atoms, e, default 0), `spin` (2S + 1, for potentials that depend
    on it) and `charges` (e, one for each ML atom, for potentials with a Coulomb energy of fixed
    charges).

    potential: it.
    skin: Å that neighbor lists reach beyond the cutoff.
    """

    def __init__(self, potential: "Potential", skin: float) -> None:
        self.potential, self.skin = potential, skin

    def addForces(  # noqa: N802 (openmm-ml's name)
        self,
        topology: Topology,
        system: System,
        atoms: Iterable[int] | None,
        forceGroup: int,
        **args: object,
    ) -> None:
        """Add the forces of the potential to a System.

        Args:
            topology: names the elements, and has box vectors or not.
            system: changed.
            atoms: indices of the ML atoms; None for all.
            forceGroup: of the new force.
            args: `charge`, `spin` and `charges`.

        Raises:
            ValueError: an atom without an element, an element that the potential does not know, a
                charge or spin that it does not see or needs, or another argument.
        """
        import openmm

        from tensornet_jax.interop.openmm.forces import PotentialForces

        chosen = None if atoms is None else list(atoms)
        ml = self.ml_atoms(topology, system, chosen, args)
        force = openmm.PythonForce(PotentialForces(self.potential, ml, self.skin))
        force.setUsesPeriodicBoundaryConditions(ml.periodic)
        force.setForceGroup(forceGroup)
        force.setName(NAME)
        if chosen is not None:
            force.setParticles(chosen)
        system.addForce(force)

    def ml_atoms(
        self,
        topology: Topology,
        system: System,
        chosen: list[int] | None,
        args: dict[str, Any],
    ) -> "MLAtoms":
        """Return what the potential is to be evaluated for; see `addForces`."""
        from tensornet_jax.interop.openmm.forces import MLAtoms

        unknown = sorted(set(args) - set(OPTIONS) - EMBEDDING_OPTIONS)
        if unknown:
            raise ValueError(
                f"{', '.join(unknown)}: no argument of this potential: it takes "
                f"{', '.join(OPTIONS)}"
            )
        everywhere = list(topology.atoms())
        ml = everywhere if chosen is None else [everywhere[index] for index in chosen]
        without = [atom.index for atom in ml if atom.element is None]
        if without:
            raise ValueError(
                f"atoms {', '.join(map(str, without[:10]))} of the topology have no element: ML "
                "atoms need one each (extra particles of water models cannot be ML atoms)"
            )
        boxed = topology.getPeriodicBoxVectors() is not None
        given = {name: args[name] for name in OPTIONS if args.get(name) is not None}
        numbers = tuple(atom.element.atomic_number for atom in ml)
        return MLAtoms(numbers, boxed or system.usesPeriodicBoundaryConditions(), **given)

    def createMixedSystem(  # noqa: N802 (openmm-ml's name)
        self,
        topology: Topology,
        system: System,
        atoms: list[int],
        forceGroup: int,
        interpolate: bool,
        embedding: str,
        returnInfo: bool = False,
        **args: Any,
    ) -> System:
        """Return a System with electrostatic embedding; see `mixed_system.embedded_system`."""
        from tensornet_jax.interop.openmm.mixed_system import embedded_system

        accuracy = args.pop("ewaldAccuracy", None)
        return embedded_system(
            self, topology, system, atoms, args, forceGroup, interpolate, accuracy
        )

    def getSupportedEmbeddings(self) -> list[str]:  # noqa: N802 (openmm-ml's name)
        """Return the embeddings besides those of openmm-ml.

        A potential without predicted charges has it, too, so that asking for it tells what to do.
        """
        return [ELECTROSTATIC]

    def getMLLongRange(self) -> bool:  # noqa: N802 (openmm-ml's name)
        """Tell whether the potential sums over all images of its charges in a periodic box."""
        far = self.potential.config.long_range
        return far is not None and far.k_vectors is not None
