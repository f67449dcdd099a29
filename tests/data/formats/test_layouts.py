"""Published files are rewritten with the labels, units and frames that they have."""

import csv
import io
import json
from typing import Any

import numpy as np
import pytest
from ase.build import bulk
from ase.units import GPa

from tensornet_jax.data.formats.layouts import read_layout


def pymatgen_record(atoms) -> dict[str, Any]:
    return {
        "lattice": {"matrix": atoms.cell.array.tolist()},
        "sites": [
            {"species": [{"element": symbol, "occu": 1}], "xyz": position.tolist()}
            for symbol, position in zip(atoms.symbols, atoms.positions, strict=True)
        ],
    }


def mlearn_entry(element: str = "Si", group: str = "Elastic") -> dict[str, Any]:
    atoms = bulk(element, "diamond", a=5.4)
    return {
        "outputs": {
            "energy": -10.0,
            "forces": [[0.1, 0.0, 0.0], [-0.1, 0.0, 0.0]],
            "virial_stress": [10.0, 20.0, 30.0, 1.0, 2.0, 3.0],
        },
        "element": element,
        "group": group,
        "description": "strained",
        "structure": pymatgen_record(atoms),
    }


def mlearn(*entries: dict[str, Any]):
    return read_layout(json.dumps(entries).encode(), "mlearn")


def test_mlearn_stress_turns_from_compression_in_kilobar_into_tension():
    (atoms,) = mlearn(mlearn_entry())
    expected = bulk("Si", "diamond", a=5.4)
    np.testing.assert_allclose(atoms.positions, expected.positions)
    np.testing.assert_allclose(atoms.cell, expected.cell)
    assert atoms.pbc.all()
    assert atoms.info["REF_energy"] == -10.0
    np.testing.assert_allclose(np.diag(atoms.info["REF_stress"]), [-GPa, -2 * GPa, -3 * GPa])
    assert atoms.arrays["REF_forces"][0, 0] == 0.1


@pytest.mark.parametrize(
    ("element", "group", "yz"),
    [
        ("Si", "Elastic", 2.0),
        ("Si", "Vacancy", 3.0),
        ("Li", "Vacancy", 2.0),
        ("Mo", "Elastic", 3.0),
    ],
)
def test_mlearn_shear_is_in_the_order_of_its_element_and_group(element, group, yz):
    (atoms,) = mlearn(mlearn_entry(element, group))
    stress = atoms.info["REF_stress"] / (-0.1 * GPa)
    np.testing.assert_allclose(stress, stress.T)
    np.testing.assert_allclose([stress[0, 1], stress[1, 2], stress[0, 2]], [1.0, yz, 5.0 - yz])


def test_shielding_goes_to_the_atoms_that_have_it():
    atoms = bulk("SiO", "rocksalt", a=4.0)
    tensor = np.arange(9.0).reshape(3, 3)
    table = {
        "structure": {"10": pymatgen_record(atoms), "9": pymatgen_record(atoms * (1, 1, 2))},
        "atom_selector": {"10": [True, False], "9": [False, False, True, False]},
        "nmr_tensor": {"10": [(2 * tensor).tolist()], "9": [tensor.tolist()]},
    }
    first, second = read_layout(json.dumps(table).encode(), "matten_shielding")
    assert first.arrays["has_nmr"].tolist() == [0, 0, 1, 0]
    np.testing.assert_array_equal(first.arrays["nmr_shielding"][2], np.arange(9.0))
    assert second.arrays["has_nmr"].tolist() == [1, 0]
    np.testing.assert_array_equal(second.arrays["nmr_shielding"][0], 2 * np.arange(9.0))


def test_elasticity_is_that_of_the_cell_and_not_the_one_in_standard_setting():
    out = io.StringIO()
    rows = csv.DictWriter(
        out, ["elastic_tensor", "elastic_tensor_original", "formula", "material_id", "poscar"]
    )
    out.write("# ref: somebody, some day\n")
    rows.writeheader()
    original = np.arange(36.0).reshape(6, 6)
    cell, sites = "4 0 0\n0 4 0\n0 0 4", "0 0 0 Na\n0.5 0.5 0.5 Cl"
    poscar = f"Na1 Cl1\n1.0\n{cell}\nNa Cl\n1 1\ndirect\n{sites}\n"
    rows.writerow(
        {
            "elastic_tensor": "[[0]]",
            "elastic_tensor_original": json.dumps(original.tolist()),
            "formula": "NaCl",
            "material_id": "mp-1",
            "poscar": poscar,
        }
    )
    (atoms,) = read_layout(out.getvalue().encode(), "matminer_elasticity")
    assert atoms.get_chemical_formula() == "ClNa"
    np.testing.assert_allclose(atoms.positions[1], [2, 2, 2])
    np.testing.assert_array_equal(atoms.info["elastic_voigt_original"], original.reshape(36))


@pytest.mark.parametrize("layout", ["mlearn", "matten_shielding", "matminer_elasticity"])
@pytest.mark.parametrize("content", [b"<html/>", b'[{"structure": 1}]', b"\xff", b"a,b\n1,2"])
def test_another_layout_is_an_error_of_one_line(layout, content):
    with pytest.raises(ValueError, match=f"not laid out like those of {layout}"):
        read_layout(content, layout)


def test_a_site_of_several_elements_is_refused():
    entry = mlearn_entry()
    entry["structure"]["sites"][0]["species"][0]["occu"] = 0.5
    with pytest.raises(ValueError, match="shared by several elements, or partly empty"):
        mlearn(entry)
