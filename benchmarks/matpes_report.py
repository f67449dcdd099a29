"""What `matpes.py` measured, as Markdown and as a figure."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from results_file import machine_line

CONTENDERS = {
    "MatGL": "MatGL",
    "tensornet_jax": "as published",
    "tensornet_jax, compressed": "compressed",
}
LISTS = {"": "from positions", ", graph given": "graph given", ", list given": "graph given"}


def table(results: dict[str, Any]) -> str:
    """Return the parts that were run as Markdown."""
    lines = [
        "# The universal MatPES potential, here and in MatGL",
        "",
        "TensorNet-MatPES-PBE-v2025.1 (89 elements, 128 channels, 2 layers, cutoff 5 Å), the same "
        f"weights in both, on "
        f"{machine_line(results, 'matgl', 'torch', 'torch-geometric')}. "
        "*Compressed*: restricted to the "
        "elements of the structure, tolerance 1e-5 eV/atom and eV/Å.",
    ]
    sections = {
        "crystals": _crystals,
        "forces": _forces,
        "times": _times,
        "dynamics": _dynamics,
    }
    for part, section in sections.items():
        if part in results:
            lines += ["", *section(results[part])]
    return "\n".join(lines) + "\n"


def _crystals(records: list[dict[str, Any]]) -> list[str]:
    lines = [
        "## Crystals",
        "",
        "Cells relaxed by ASE's BFGS until stresses vanish, and Birch–Murnaghan's bulk modulus of "
        "nine volumes around, all in float64.",
        "",
        "| | a (Å): "
        + " | ".join(CONTENDERS.values())
        + " | B (GPa): "
        + " | ".join(CONTENDERS.values())
        + " |",
        "|---|" + "---:|" * 6,
    ]
    for name in dict.fromkeys(r["crystal"] for r in records):
        own = {r["name"]: r for r in records if r["crystal"] == name}
        cells = [f"{own[key]['lattice_A']:.6f}" for key in CONTENDERS]
        cells += [f"{own[key]['bulk_modulus_GPa']:.3f}" for key in CONTENDERS]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def _forces(records: list[dict[str, Any]]) -> list[str]:
    lines = [
        "## Forces it was never trained on",
        "",
        "Mean absolute error of force components on the test sets of mlearn (Zuo et al., "
        "doi:10.1021/acs.jpca.9b08723), meV/Å, float32.",
        "",
        "| | structures | MatGL | tensornet_jax | largest difference |",
        "|---|---:|---:|---:|---:|",
    ]
    for r in records:
        values = (r["mae_matgl_eV_per_A"], r["mae_eV_per_A"])
        errors = " | ".join(f"{1000 * value:.1f}" for value in values)
        difference = 1000 * r["largest_difference_eV_per_A"]
        lines.append(f"| {r['element']} | {r['structures']} | {errors} | {difference:.3f} |")
    return lines


def _times(records: list[dict[str, Any]]) -> list[str]:
    lines = [
        "## Time of energy, forces and stress",
        "",
        "Medians in ms of rattled crystals, float32, everybody in turns in one process. *From "
        "positions*: through the ASE calculator after every atom has moved a little, with MatGL's "
        "search for neighbors and this package's lists with a skin. *Graph given*: the network "
        "alone. Ratio: MatGL's time over ours.",
        "",
        "| crystal | atoms | | MatGL | as published | ratio | compressed | ratio |",
        "|---|---:|---|---:|---:|---:|---:|---:|",
    ]
    for crystal, atoms in dict.fromkeys((r["crystal"], r["atoms"]) for r in records):
        for mode in ("from positions", "graph given"):
            own = _of(records, crystal, atoms, mode)
            cells = [f"{1e3 * own['MatGL']:.0f}"]
            for key in list(CONTENDERS)[1:]:
                cells += [f"{1e3 * own[key]:.1f}", f"{own['MatGL'] / own[key]:.1f}"]
            lines.append(f"| {crystal} | {atoms} | {mode} | {' | '.join(cells)} |")
    return lines


def _of(records: list[dict[str, Any]], crystal: str, atoms: int, mode: str) -> dict[str, float]:
    """Median seconds by contender."""
    return {
        r["name"].removesuffix(suffix): r["median_s"]
        for r in records
        for suffix, name in LISTS.items()
        if (r["crystal"], r["atoms"], name) == (crystal, atoms, mode)
        and r["name"].removesuffix(suffix) in CONTENDERS
    }


def _dynamics(found: dict[str, Any]) -> list[str]:
    npt, nve = found["npt"], found["nve"]
    volumes = np.array(npt["volume_A3"])
    edge = (volumes[len(volumes) // 2 :].mean() / found["atoms"] * 8) ** (1 / 3)
    return [
        "## Dynamics",
        "",
        f"{found['atoms']} atoms of MgO on the device engine, {found['dtype']}, "
        f"{found['timestep_fs']:g} fs, the potential as published. {npt['steps']} steps at "
        f"{found['temperature_K']:g} K and no pressure, then {nve['steps']} at constant energy.",
        "",
        "| | drift (meV/atom/ps) | fluctuation (meV/atom) | mean T (K) "
        f"| s with compilation, {found['threads']} threads |",
        "|---|---:|---:|---:|---:|",
        *(
            f"| {name} | {run['drift_meV_per_atom_ps']:+.4f} | "
            f"{run['fluctuation_meV_per_atom']:.4f} | {_late(run['temperature_K']):.0f} | "
            f"{run['seconds_with_compilation']:.0f} |"
            for name, run in (("NPT, conserved quantity", npt), ("NVE, total energy", nve))
        ),
        "",
        f"Lattice constant, mean of the second half of NPT: {edge:.4f} Å.",
        "",
        "![Lattice constants, times and dynamics](matpes.png)",
    ]


def _late(values: list[float]) -> float:
    return float(np.mean(values[len(values) // 2 :]))


def plot(results: dict[str, Any], path: Path) -> None:
    """Draw times against atoms, and volume and energies along the dynamics."""
    figure = Figure(figsize=(12, 4), layout="constrained")
    FigureCanvasAgg(figure)
    of_times, of_volume, of_energy = figure.subplots(1, 3)
    records = results.get("times", [])
    for crystal, line in zip(dict.fromkeys(r["crystal"] for r in records), "-:", strict=False):
        atoms = sorted({r["atoms"] for r in records if r["crystal"] == crystal})
        for (key, label), color in zip(CONTENDERS.items(), ("k", "C0", "C1"), strict=True):
            values = [_of(records, crystal, n, "from positions")[key] for n in atoms]
            milliseconds = 1e3 * np.array(values)
            style = {"color": color, "linestyle": line, "marker": "o"}
            of_times.loglog(atoms, milliseconds, label=f"{crystal}, {label}", **style)
    sizes = sorted({r["atoms"] for r in records})
    of_times.set_xticks(sizes, [str(size) for size in sizes])
    of_times.set_xticks([], minor=True)
    of_times.set(xlabel="atoms", ylabel="energy + forces + stress (ms)")
    of_times.grid(alpha=0.3, which="both")
    if records:
        of_times.legend(fontsize=8)
    if "dynamics" in results:
        found = results["dynamics"]
        npt, nve, atoms = found["npt"], found["nve"], found["atoms"]
        of_volume.plot(np.array(npt["time_fs"]) / 1000, np.array(npt["volume_A3"]) / atoms)
        of_volume.set(xlabel="NPT (ps)", ylabel="volume (Å³/atom)")
        energy = 1000 * np.array(nve["conserved_eV"]) / atoms
        of_energy.plot(np.array(nve["time_fs"]) / 1000, energy - energy[0])
        of_energy.set(xlabel="NVE (ps)", ylabel="total energy − start (meV/atom)", ylim=(-0.5, 0.5))
    figure.savefig(path, dpi=150)
