"""Steps whose electrons did not converge are no labels."""

import gzip

import numpy as np
import pytest

from tensornet_jax.data.auditing.audit import audit
from tensornet_jax.data.formats.convergence import complaint, unconverged_steps
from tensornet_jax.data.readers import read_labelled


def vasprun(*steps, allowed=4, tolerance=""):
    """Return a vasprun.xml whose ionic steps have these energies of their electronic steps, eV."""

    def energy(value):
        names = ("e_fr_energy", "e_wo_entrp", "e_0_energy")
        items = "".join(f'<i name="{name}">{value:.8f}</i>' for name in names)
        return f"<energy>{items}</energy>"

    def vectors(name, rows):
        return f'<varray name="{name}">{"".join(f"<v>{row}</v>" for row in rows)}</varray>'

    basis = vectors("basis", ("3.6 0 0", "0 3.6 0", "0 0 3.6"))
    crystal = f"<crystal>{basis}</crystal>{vectors('positions', ('0 0 0', '0.5 0.5 0.5'))}"
    calculations = "".join(
        "<calculation>"
        + "".join(f"<scstep>{energy(value)}</scstep>" for value in energies)
        + f"<structure>{crystal}</structure>"
        + vectors("forces", ("0 0 0.1", "0 0 -0.1"))
        + vectors("stress", ("1 0 0", "0 1 0", "0 0 1"))
        + energy(energies[-1])
        + "</calculation>"
        for energies in steps
    )
    atom = "<rc><c>Cu</c><c>1</c></rc>"
    return (
        '<?xml version="1.0"?><modeling><generator><i name="version">6.3</i></generator>'
        f"<kpoints>{vectors('kpointlist', ('0 0 0',))}{vectors('weights', ('1.0',))}</kpoints>"
        f'<parameters><i type="int" name="NELM">{allowed}</i>{tolerance}</parameters>'
        f'<atominfo><array name="atoms"><set>{atom * 2}</set></array></atominfo>'
        f'<structure name="initialpos">{crystal}</structure>{calculations}</modeling>'
    )


GOOD, BAD = (-7.0, -7.4, -7.5), (-3.0, -3.5, -4.0, -4.5)


@pytest.mark.parametrize("compressed", [False, True])
def test_an_unconverged_step_of_vasp_loses_its_labels_and_is_told(tmp_path, compressed):
    path = tmp_path / ("vasprun.xml.gz" if compressed else "vasprun.xml")
    with gzip.open(path, "wt") if compressed else path.open("w") as stream:
        stream.write(vasprun(GOOD, BAD, GOOD))
    structures = read_labelled(path)
    assert ["energy" in each.labels for each in structures] == [True, False, True]
    assert not structures[1].labels
    (told,) = (text for text in audit(structures).warnings if "did not converge" in text)
    assert f"{path}:1" in told


def test_a_step_that_converged_in_the_last_step_allowed_is_a_label(tmp_path):
    path = tmp_path / "vasprun.xml"
    tolerance = '<i name="EDIFF">      0.00010000</i>'
    path.write_text(vasprun((-7, -7.4, -7.5, -7.50001), BAD, tolerance=tolerance))
    assert unconverged_steps(path) == {1}


def test_a_vasprun_that_was_cut_off_is_told(tmp_path):
    path = tmp_path / "vasprun.xml"
    text = vasprun(GOOD, BAD, GOOD)
    path.write_text(text[: text.rindex("<scstep>")])
    structures = read_labelled(path)
    assert [np.isnan(atoms.energy) for atoms in structures] == [False, True]
    assert "ends in the middle of a step" in structures[-1].remarks[0]


def test_unconverged_steps_of_an_outcar_are_found(tmp_path):
    path = tmp_path / "OUTCAR"
    end = "------------------------ aborting loop because EDIFF is reached ------------\n"
    iteration = "--------------------------------------- Iteration {:6d}({:4d})  -----------\n"
    header = "   NELM   =      3;   NELMIN=  2; NELMDL= -5     # of ELM steps\n"
    converged = "".join(iteration.format(1, k) for k in (1, 2, 3)) + end
    failed = "".join(iteration.format(2, k) for k in (1, 2, 3))
    early = "".join(iteration.format(3, k) for k in (1, 2)) + end
    path.write_text(header + converged + failed + early)
    assert unconverged_steps(path) == {1}


def test_what_other_codes_say_about_convergence_is_found(tmp_path):
    path = tmp_path / "pw.out"
    path.write_text("one\n     convergence NOT achieved after 100 iterations: stopping\n")
    assert complaint(path) == "convergence NOT achieved after 100 iterations: stopping"
    path.write_text("     convergence has been achieved in  12 iterations\n")
    assert complaint(path) is None
