"""Thresholds of standard deviations along ASE's dynamics: an evaluation more where one is due."""

from collections.abc import Mapping

import ase
import numpy as np

from tensornet_jax.md.config import Check
from tensornet_jax.md.engines.checks import NEVER, Checked, Checks, Findings, Tolerances, compared
from tensornet_jax.potential.potential import Potential

_SAVED = "checked"


class AseChecks:
    """What checks of one structure have found; see `tensornet_jax.md.engines.checks`.

    findings: so far; None where nothing is checked.
    """

    def __init__(self, check: Check | None, potential: Potential) -> None:
        self._check = check
        self._tolerances = None if check is None else Tolerances.of(check, np.float64)
        self._potential = potential
        self.findings: Findings | None = None
        if check is not None:
            self._found({}, NEVER, NEVER)

    def look(self, atoms: ase.Atoms, step: int) -> None:
        """Check a structure if that is due."""
        check, tolerances, before = self._check, self._tolerances, self.findings
        if check is None or tolerances is None or before is None or step % check.every:
            return
        (results,) = self._potential.evaluate(atoms, check.names)
        largest = np.array([[compared(name, results[name]).max() for name in check.names]])
        checked = Checked(largest, before.stopped, before.marked)
        checked = checked.after(tolerances, np.array(True), np.array(step), largest)
        self.findings = Findings.of(Checks(check.every, check.names), checked)

    def saved(self) -> dict[str, object]:
        """Return what a restart file keeps, as JSON."""
        found = self.findings
        if found is None:
            return {}
        largest = {name: float(values[0]) for name, values in found.largest.items()}
        content = {"largest": largest, "steps": [int(found.stopped[0]), int(found.marked[0])]}
        return {_SAVED: content}

    def restore(self, details: Mapping[str, object]) -> None:
        """Take over what a restart file has kept."""
        content = details.get(_SAVED)
        if self._check is not None and isinstance(content, Mapping):
            self._found(content["largest"], *content["steps"])

    def _found(self, largest: Mapping[str, float], stopped: int, marked: int) -> None:
        values = {name: np.array([value]) for name, value in largest.items()}
        self.findings = Findings(values, np.array([stopped]), np.array([marked]))
