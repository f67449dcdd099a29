"""The catalogue of public potentials is complete, and its commands exist."""

import pytest

from tensornet_jax.data.published.catalogue import PublicPotential, load_catalogue


def test_potentials_are_found_by_name_and_by_elements():
    catalogue = load_catalogue()
    assert catalogue.named("aceff-1.0").level_of_theory == (
        "ωB97M-V/def2-TZVPPD with VV10 dispersion"
    )
    with pytest.raises(ValueError, match=r"no potential 'ANI-2x'; it has .*AceFF-1\.0"):
        catalogue.named("ANI-2x")
    assert len(catalogue.with_elements(())) == len(catalogue.potentials)
    for potential in catalogue.with_elements(("Cu", "O")):
        assert {"Cu", "O"} <= set(potential.elements)
    assert catalogue.with_elements(("Po",)) == ()


def test_names_are_distinct():
    names = [potential.name.lower() for potential in load_catalogue().potentials]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"elements": ["H", "Xx"]}, "Xx"),
        ({"elements": ["H", "H"]}, "twice"),
        ({"page": "ftp://example.org"}, "https"),
        ({"stars": 5}, "stars"),
    ],
)
def test_a_wrong_entry_is_an_error(change, message):
    entry = load_catalogue().potentials[0].model_dump()
    with pytest.raises(ValueError, match=message):
        PublicPotential.model_validate(entry | change)
