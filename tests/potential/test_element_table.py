"""An element table is consistent and exact."""

import numpy as np
import pytest

from tensornet_jax.potential.element_table import ElementTable


@pytest.mark.parametrize(
    ("numbers", "energies", "message"),
    [
        ((1, 6, 1), [0.0, 0.0, 0.0], "names an element twice"),
        ((1, 6), [0.0], "2 elements need as many finite reference energies"),
        ((1,), [0.0, 0.0], "1 elements need"),
        ((1, 6), [0.0, np.nan], "finite"),
        ((1, 6), [0.0, -np.inf], "finite"),
    ],
)
def test_inconsistent_element_tables_are_refused(numbers, energies, message):
    with pytest.raises(ValueError, match=message):
        ElementTable(numbers, np.array(energies))


def test_element_table_keeps_its_own_energies_in_double_precision():
    energies = np.array([-13.5, -1029.25], np.float32)
    table = ElementTable((1, 6), energies)
    energies[:] = 0
    np.testing.assert_array_equal(table.reference_energies, [-13.5, -1029.25])
    assert table.reference_energies.dtype == np.float64
    assert table.symbols == ("H", "C")
