"""An argon crystal at constant pressure in LAMMPS: `driver.py RUNS STEPS TEMPERATURE OUTPUT`.

Writes the volumes of several runs with other velocities, Å³, every twentieth step.
"""

import sys
from pathlib import Path

import numpy as np

from tensornet_jax.interop.lammps import attach
from tensornet_jax.models.registry import MODELS
from tests.interop.lammps.driver import started
from tests.md.analytic import ANALYTIC, analytic, argon

RUN = """
mass * 39.948
timestep 0.005
velocity all create {temperature} {seed} mom yes
fix ensemble all npt temp {temperature} {temperature} 0.1 iso 0 0 0.5
thermo_style custom step vol press
thermo 20
run {steps}
"""
EVERY = 20


def main() -> None:
    """Run them one after the other."""
    runs, steps, temperature, output = sys.argv[1:]
    MODELS.update(ANALYTIC)
    volumes = []
    for seed in range(1, int(runs) + 1):
        lmp = started(argon(rattle=0.02), f"{output}.data", ["Ar"])
        attach(lmp, analytic("lennard_jones", cutoff=5.0), ["Ar"])
        own: list[float] = []
        lmp.commands_string(RUN.format(temperature=temperature, seed=seed, steps=0))
        for _ in range(int(steps) // EVERY):
            lmp.command(f"run {EVERY} pre no post no")
            own.append(lmp.get_thermo("vol"))
        volumes.append(own)
        lmp.close()
    np.save(Path(output), np.array(volumes))


if __name__ == "__main__":
    main()
