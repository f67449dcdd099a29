"""Names for OpenMM's classes, whose modules have no types."""

from typing import Any, TypeAlias

State: TypeAlias = Any
"""An `openmm.State`."""

System: TypeAlias = Any
"""An `openmm.System`."""

Topology: TypeAlias = Any
"""An `openmm.app.Topology`."""

Force: TypeAlias = Any
"""An `openmm.Force`."""
