"""Ethanol's infrared spectrum from dynamics with a model of GFN2-xTB, against GFN2's vibrations.

python benchmarks/ethanol_ir.py [FOLDER]

Trains configs/ethanol_ir.yaml and runs configs/md_ethanol_ir.yaml, unless their results are there
already, computes the model's harmonic vibrations, and writes a spectrum, a table and a picture.
``--reference`` computes GFN2's harmonic vibrations anew, which takes tblite
(``pip install tblite``); otherwise they are read from structures/ethanol_gfn2_vibrations.json.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

import ase
import numpy as np
from ase.build import molecule
from ase.calculators.calculator import Calculator
from ase.optimize import BFGS
from ase.vibrations import Infrared
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from results_file import add_records, results_folder

from tensornet_jax.calculator import TensorNetCalculator
from tensornet_jax.cli.md import md
from tensornet_jax.config import load_config
from tensornet_jax.md.config import MDConfig
from tensornet_jax.spectra import Spectrum, infrared_spectrum, read_series
from tensornet_jax.spectra.bands import area, bands
from tensornet_jax.spectra.report import draw, write_spectra
from tensornet_jax.train.config.run import RunConfig
from tensornet_jax.train.run import train

ROOT = Path(__file__).parents[1]
TRAINING, DYNAMICS = (ROOT / "configs" / name for name in ("ethanol_ir.yaml", "md_ethanol_ir.yaml"))
REFERENCE = ROOT / "benchmarks" / "structures" / "ethanol_gfn2_vibrations.json"
RESOLUTION = 15.0
# km/mol per D²/(Å² amu), the unit of ASE's intensities.
KM_PER_MOL = 42.2561
# Lowest and highest wavenumber, cm⁻¹.
REGIONS = {
    "O–H stretch": (3300.0, 3900.0),
    "C–H stretches": (2700.0, 3300.0),
    "bends": (1180.0, 1600.0),
    "C–O and C–C stretches, rocking": (950.0, 1180.0),
    "skeleton": (600.0, 950.0),
}


HEAD = """# Infrared spectrum of ethanol: GFN2-xTB, a model of it, and dynamics with the model

Made by `python benchmarks/ethanol_ir.py`. The model ({parameters:,} parameters, trained on
{training_set} GFN2 frames of 500 K, energies, forces and dipole moments) ran {replicas} molecules
for {duration_ps:g} ps each at {temperature:.0f} K and constant energy; dipole moments every
{interval_fs:g} fs, resolution {resolution:g} cm⁻¹, quantum correction `harmonic`.

![Spectrum, and the harmonic vibrations of GFN2 and of the model](ethanol_ir.png)

## Bands

Strongest line of each region (cm⁻¹) and intensity of the whole region (km/mol): harmonic, in both
conformers, and from dynamics. Places from dynamics are without the error of the time step, which
puts an O–H stretch {step_shift:.0f} cm⁻¹ higher with {timestep:g} fs.
"""


def conformers() -> dict[str, ase.Atoms]:
    """Return the two minima of ethanol's O–H torsion, not yet relaxed."""
    trans = molecule("CH3CH2OH")
    oxygen = int(np.flatnonzero(trans.numbers == 8)[0])
    distances = trans.get_all_distances()
    hydrogen = min(np.flatnonzero(trans.numbers == 1), key=lambda k: distances[oxygen, k])
    near, far = sorted(np.flatnonzero(trans.numbers == 6), key=lambda k: distances[oxygen, k])
    gauche = trans.copy()
    gauche.set_dihedral(far, near, oxygen, hydrogen, 60.0, indices=[hydrogen])
    return {"trans": trans, "gauche": gauche}


def vibrations(calculator: Calculator) -> dict[str, Any]:
    """Return, for each conformer, wavenumbers (cm⁻¹) and intensities (km/mol) of its vibrations."""
    found = {}
    for name, atoms in conformers().items():
        atoms.calc = calculator
        BFGS(atoms, logfile=None).run(fmax=1e-4, steps=1000)
        with tempfile.TemporaryDirectory() as directory, chdir(directory):
            infrared = Infrared(atoms, delta=0.005)
            infrared.run()
            # Without rotations and translations.
            wavenumbers = np.asarray(infrared.get_frequencies())[6:]
            intensities = np.asarray(infrared.intensities)[6:] * KM_PER_MOL
        assert np.abs(np.imag(wavenumbers)).max() == 0, f"{name} is not at a minimum"
        found[name] = {
            "energy": float(atoms.get_potential_energy()),
            "wavenumbers": np.real(wavenumbers).round(2).tolist(),
            "intensities": intensities.round(3).tolist(),
        }
    return found


def reference(anew: bool) -> dict[str, Any]:
    """Return GFN2's vibrations."""
    if anew:
        from tblite.ase import TBLite

        found = vibrations(TBLite(method="GFN2-xTB", accuracy=0.01, verbosity=0))
        REFERENCE.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return json.loads(REFERENCE.read_text(encoding="utf-8"))


def spectrum_of(path: Path) -> tuple[Spectrum, float]:
    """Return the spectrum of recorded dipole moments and the temperature in K."""
    series = read_series(path)
    kelvin = float(series.temperature.mean())
    found = infrared_spectrum(
        series.values["dipole"], series.interval, kelvin, resolution=RESOLUTION
    )
    return found.upto(4000), kelvin


def without_step(wavenumber: float, timestep: float) -> float:
    """Return a wavenumber without the error of velocity Verlet's step in fs.

    A harmonic oscillator of frequency ω oscillates with ω', sin(ω'Δt/2) = ωΔt/2.
    """
    half = np.pi * 2.99792458e-5 * timestep
    return float(np.sin(half * wavenumber) / half)


def regions_of(
    gfn2: dict[str, Any], model: dict[str, Any], spectrum: Spectrum, timestep: float
) -> list[dict[str, Any]]:
    """Return strongest place and total intensity of each region, as all three have them."""
    rows = []
    for name, (low, high) in REGIONS.items():
        row: dict[str, Any] = {"region": name, "low": low, "high": high}
        for label, source in (("gfn2", gfn2), ("model", model)):
            for conformer, modes in source.items():
                lines = [
                    (intensity, wavenumber)
                    for wavenumber, intensity in zip(
                        modes["wavenumbers"], modes["intensities"], strict=True
                    )
                    if low <= wavenumber < high
                ]
                row[f"{label}_{conformer}"] = max(lines)[1]
                row[f"{label}_{conformer}_intensity"] = sum(intensity for intensity, _ in lines)
        inside = [band for band in bands(spectrum) if low <= band.wavenumber < high]
        if inside:
            strongest = max(inside, key=lambda band: band.height)
            row["dynamics"] = without_step(strongest.wavenumber, timestep)
        row["dynamics_intensity"] = area(spectrum, low, high)
        rows.append(row)
    return rows


def picture(
    path: Path, gfn2: dict[str, Any], model: dict[str, Any], spectrum: Spectrum, kelvin: float
) -> None:
    """Draw the spectrum above the lines of the harmonic vibrations."""
    figure = Figure(figsize=(9, 6), layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    draw(upper, spectrum, f"dynamics with the model, {kelvin:.0f} K")
    top = spectrum.intensity[spectrum.wavenumbers > 150].max()
    upper.set_ylim(-0.02 * top, 1.25 * top)
    upper.set_ylabel("absorption (km mol⁻¹ cm)")
    for name, (low, high) in REGIONS.items():
        upper.axvspan(low, high, color="0.95" if name.startswith("C–H") else "0.9", zorder=0)
        short = name.replace(", rocking", "").replace(" and ", ",\n")
        upper.text(0.5 * (low + high), 1.22 * top, short, ha="center", va="top", fontsize=7)
    upper.legend(loc="center")
    for sign, source, label in ((1, gfn2, "GFN2-xTB"), (-1, model, "model")):
        for (conformer, modes), color in zip(source.items(), ("C3", "C2"), strict=True):
            heights = sign * np.array(modes["intensities"])
            style = {"color": color, "lw": 1.5, "label": f"{label}, {conformer}"}
            if sign < 0:
                style["ls"] = ":"
            lower.vlines(modes["wavenumbers"], 0, heights, **style)
    lower.axhline(0, color="0.5", lw=0.5)
    lower.set(xlabel="wavenumber (cm⁻¹)", ylabel="harmonic (km mol⁻¹)", xlim=(100, 4000))
    lower.legend(loc="lower center", ncols=2, fontsize=8)
    figure.savefig(path, dpi=150)


def table(
    gfn2: dict[str, Any],
    model: dict[str, Any],
    rows: list[dict[str, Any]],
    facts: dict[str, Any],
) -> Iterator[str]:
    """Yield the lines of the README."""
    yield HEAD.format(**facts)
    yield (
        "| region | GFN2 trans | GFN2 gauche | model trans | model gauche | dynamics "
        "| GFN2 trans / gauche, km/mol | model trans / gauche | dynamics |"
    )
    yield "|---|---:|---:|---:|---:|---:|---:|---:|---:|"
    for row in rows:
        places = [row[f"{s}_{c}"] for s in ("gfn2", "model") for c in ("trans", "gauche")]
        strengths = [
            " / ".join(f"{row[f'{s}_{c}_intensity']:.1f}" for c in ("trans", "gauche"))
            for s in ("gfn2", "model")
        ]
        dynamics = f"{row['dynamics']:.0f}" if "dynamics" in row else "none"
        yield (
            f"| {row['region']} | {' | '.join(f'{place:.0f}' for place in places)} | {dynamics} | "
            f"{' | '.join(strengths)} | {row['dynamics_intensity']:.1f} |"
        )
    for conformer in gfn2:
        theirs, ours = (np.array(s[conformer]["wavenumbers"]) for s in (gfn2, model))
        errors = ours - theirs
        yield ""
        yield f"## Harmonic vibrations, {conformer}"
        yield ""
        yield (
            f"Mean absolute difference of wavenumbers {np.abs(errors).mean():.1f} cm⁻¹, largest "
            f"{np.abs(errors).max():.1f} cm⁻¹ (at {theirs[np.abs(errors).argmax()]:.0f} cm⁻¹)."
        )
        yield ""
        yield "| GFN2 (cm⁻¹) | model (cm⁻¹) | difference | GFN2 (km/mol) | model (km/mol) |"
        yield "|---:|---:|---:|---:|---:|"
        strengths = (s[conformer]["intensities"] for s in (gfn2, model))
        for a, b, c, d in zip(theirs, ours, *strengths, strict=True):
            yield f"| {a:.1f} | {b:.1f} | {b - a:+.1f} | {c:.1f} | {d:.1f} |"


def main() -> None:
    """Train and simulate if need be, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--reference", action="store_true", help="compute GFN2's vibrations anew")
    arguments = parser.parse_args()
    gfn2 = reference(arguments.reference)
    training, dynamics = load_config(TRAINING, RunConfig), load_config(DYNAMICS, MDConfig)
    if not Path(dynamics.model).exists():
        train(training)
    calculator = TensorNetCalculator(dynamics.model, dtype="float64")
    model = vibrations(calculator)
    # Where it has been run to its end there is nothing left to do.
    md(DYNAMICS)
    series = Path(f"{dynamics.output}.series.h5")
    spectrum, kelvin = spectrum_of(series)
    rows = regions_of(gfn2, model, spectrum, dynamics.timestep)
    record = dynamics.record
    assert record is not None
    facts = {
        "case": "ethanol",
        "parameters": calculator.potential.num_parameters,
        "training_set": 950,
        "replicas": dynamics.replicas,
        "duration_ps": dynamics.steps * dynamics.timestep * 1e-3,
        "timestep": dynamics.timestep,
        "interval_fs": record.interval * dynamics.timestep,
        "temperature": kelvin,
        "resolution": RESOLUTION,
        "step_shift": 3568 - without_step(3568, dynamics.timestep),
        "gfn2": gfn2,
        "model": model,
        "regions": rows,
    }
    folder = results_folder("ethanol_ir", arguments.folder)
    add_records(folder, "ethanol_ir", [facts], ("case",), {})
    write_spectra(folder / "infrared.csv", {"absorption_km_mol-1_cm": spectrum})
    picture(folder / "ethanol_ir.png", gfn2, model, spectrum, kelvin)
    text = "\n".join(table(gfn2, model, rows, facts)) + "\n"
    (folder / "README.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
