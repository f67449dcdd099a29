"""Every tolerance of the suite, in one table; float64 unless the name says otherwise."""

OP = 1e-12
"""Relative, one operation against its independent reference."""

OP_FLOAT32 = 1e-5
"""Relative, the same in float32."""

MODEL_EQUIVARIANCE = 1e-8
"""Relative, a whole model under rotation and inversion."""

REFERENCE_ENERGY = 1e-9
REFERENCE_FORCES = 1e-9
REFERENCE_GRADIENTS = 1e-8
REFERENCE_LOSSES = 1e-7
"""Relative, against torchmd-net 3.1.0's own float64 numbers."""

MATGL = 1e-9
"""eV, eV/Å and eV/Å³, against MatGL 2.0.4's own float64 numbers."""

MACE = 1e-9
"""Relative for energies; eV, eV/Å and eV/Å³; against mace-torch 0.3.16's own float64 numbers."""

FINITE_DIFFERENCE_FORCES = 1e-6
"""eV/Å, forces against central differences of the energy."""

FINITE_DIFFERENCE_STRESS = 1e-6
"""eV/Å³."""

FINITE_DIFFERENCE_HESSIAN = 1e-5
"""eV/Å²."""

SAME_ENERGY = 1e-9
"""eV, the same structure written differently (shifted, wrapped)."""

SAME_SUM = 1e-10
"""Relative, the same sum taken in another order (batched, supercell, permuted)."""

EQUILIBRATION = 1e-4
"""Relative, energies of TensorNet2, and charges in e: they sum to the total charge but for the ε in
the equilibration, which is not extensive."""

MODEL_FLOAT32 = 1e-4
"""Relative to the largest value, a whole model in float32 against float64."""

SAME_MODEL = 1e-8
"""Relative, one model through every way to its numbers: evaluate, calculator, file, jit."""

ROUNDING = 1e-14
"""Relative, a float64 sum of a dozen numbers."""

EDGE_CURVATURE = 1e-3
EDGE_CURVATURE_RELATIVE = 0.05
"""eV/Å² and relative, a curvature from forces 1e-4 Å and 1e-3 Å away from the cutoff."""

MD_REVERSIBLE = 1e-8
"""Å, positions after a thousand steps of constant-energy dynamics forth and as many back."""

MD_SAME_PATH = 1e-8
"""Å, a short trajectory computed in another way: other lists, other batch, other code."""

RELAXED_ENERGY = 1e-7
RELAXED_DISTANCE = 1e-3
"""eV and Å, two optimizers' minima of weakly bound argon; 0.1 Å³ and 0.1° for its cells."""
