"""Intensities of oscillators against the double harmonic approximation and brute averages."""

import numpy as np
import pytest
from ase import units
from scipy.spatial.transform import Rotation

from tensornet_jax.spectra import infrared_spectrum, quantum_factor, raman_spectrum
from tensornet_jax.spectra.bands import area, bands
from tensornet_jax.spectra.quantum import CORRECTIONS, emitted_share, reduced_energy
from tests.spectra.signals import LIGHT, cosines

KELVIN = 300.0
# km/mol of an intensity of 1 D²/(Å² amu), as programs for vibrations print it.
KM_PER_MOL = 42.2561


def test_infrared_areas_are_the_intensities_of_the_double_harmonic_approximation():
    # ∂μ/∂q in D/(Å √amu) of lines at cm⁻¹.
    lines = {700.0: 1.3, 1500.0: 0.4, 3600.0: 0.8}
    total = 0.0
    for seed, (wavenumber, derivative) in enumerate(lines.items()):
        # q of a thermal oscillator in Å √amu: ½ω²A² = kT.
        omega = 2 * np.pi * LIGHT * wavenumber / units.fs
        amplitude = np.sqrt(2 * units.kB * KELVIN) / omega
        series = cosines([(wavenumber, derivative * units.Debye * amplitude)], 20_000, seed=seed)
        direction = np.array([2.0, -1.0, 2.0]) / 3
        total = total + series[..., None] * direction
    found = infrared_spectrum(np.asarray(total) + 7.0, 2.0, KELVIN)
    assert [band.wavenumber for band in bands(found)] == pytest.approx(list(lines), abs=0.5)
    for wavenumber, derivative in lines.items():
        whole = area(found, wavenumber - 200, wavenumber + 200)
        assert whole == pytest.approx(KM_PER_MOL * derivative**2, rel=0.02)


@pytest.mark.parametrize("correction", CORRECTIONS)
def test_corrections_change_infrared_intensities_by_their_factor(correction):
    series = cosines([(2000.0, 0.1)])[..., None] * np.array([1.0, 0, 0])
    plain = infrared_spectrum(series, 2.0, KELVIN)
    found = infrared_spectrum(series, 2.0, KELVIN, correction=correction)
    x = 1.438777 * 2000 / KELVIN
    by_hand = {
        "harmonic": 1.0,
        "standard": 2 / (1 + np.exp(-x)) * (1 - np.exp(-x)) / x,
        "schofield": np.exp(x / 2) * (1 - np.exp(-x)) / x,
        "none": (1 - np.exp(-x)) / x,
    }
    at = found.wavenumbers.searchsorted(2000)
    ratio = found.intensity[at] / plain.intensity[at]
    assert ratio == pytest.approx(by_hand[correction], rel=0.01)


@pytest.mark.parametrize("correction", ["harmonic", "standard", "schofield"])
def test_corrected_spectra_obey_detailed_balance_and_have_the_classical_limit(correction):
    x = np.linspace(0.1, 30, 40)
    stokes, anti_stokes = quantum_factor(correction, x), quantum_factor(correction, -x)
    np.testing.assert_allclose(anti_stokes, np.exp(-x) * stokes, rtol=1e-12)
    assert quantum_factor(correction, np.array([0.0, 1e-9])) == pytest.approx([1, 1])
    assert emitted_share(np.array([0.0]))[0] == 1


def test_harmonic_correction_makes_a_classical_oscillator_a_quantum_one():
    """⟨|⟨n+1|q|n⟩|²⟩ = (n̄ + 1)ħ/2ω against ½⟨q²⟩ = kT/2ω² of the classical one."""
    x = np.array([0.5, 3.0, 17.0])
    occupation = 1 / np.expm1(x)
    np.testing.assert_allclose(quantum_factor("harmonic", x), (occupation + 1) * x, rtol=1e-12)


def test_unknown_corrections_and_temperatures_are_refused():
    with pytest.raises(ValueError, match="'kubo' is not one of harmonic"):
        quantum_factor("kubo", np.ones(1))
    with pytest.raises(ValueError, match="above 0 K"):
        reduced_energy(np.ones(1), 0.0)


def raman_of(tensor, wavenumber=1000.0, **options):
    series = cosines([(wavenumber, 0.2)])[..., None, None] * np.asarray(tensor)
    return raman_spectrum(series + 5 * np.eye(3), 2.0, KELVIN, **options)


def test_raman_polarizations_are_averages_over_all_orientations():
    """The icosahedron's rotations average polynomials of degree 4 as all rotations do."""
    tensor = np.array([[2.0, 0.3, -0.5], [0.3, -0.4, 0.7], [-0.5, 0.7, 0.9]])
    turned = [r @ tensor @ r.T for r in Rotation.create_group("I").as_matrix()]
    parallel = np.mean([t[2, 2] ** 2 for t in turned])
    perpendicular = np.mean([t[0, 2] ** 2 for t in turned])
    found = raman_of(tensor, laser=None)
    # ⟨cos²⟩ = ½, and half of that at positive wavenumbers, times Q.
    x = 1.438777 * 1000 / KELVIN
    scale = 0.2**2 / 4 * x / (1 - np.exp(-x))
    assert area(found.parallel, 800, 1200) == pytest.approx(scale * parallel, rel=0.02)
    assert area(found.perpendicular, 800, 1200) == pytest.approx(scale * perpendicular, rel=0.02)
    together = found.parallel.intensity + found.perpendicular.intensity
    np.testing.assert_allclose(found.unpolarized.intensity, together, rtol=1e-10)


def test_depolarization_ratio_is_zero_of_a_breathing_mode_and_three_quarters_without_trace():
    for tensor, expected in ((np.eye(3), 0.0), (np.diag([1.0, -1.0, 0.0]), 0.75)):
        found = raman_of(tensor)
        at = found.parallel.wavenumbers.searchsorted(1000)
        assert found.depolarization_ratio()[at] == pytest.approx(expected, abs=1e-9)


def test_laser_weakens_high_lines_by_the_fourth_power_of_the_scattered_light():
    plain, found = (raman_of(np.eye(3), 3000.0, laser=laser) for laser in (None, 500.0))
    at = found.parallel.wavenumbers.searchsorted(3000)
    ratio = found.parallel.intensity[at] / plain.parallel.intensity[at]
    assert ratio == pytest.approx((1 - 3000 / 20000) ** 4, rel=2e-3)
    with pytest.raises(ValueError, match="above 0 nm"):
        raman_of(np.eye(3), laser=0.0)
