"""Files are opened as they are where they can be read by index, and packed once where not."""

import numpy as np
import pytest

from tensornet_jax.data.labels.canonical_file import write_canonical
from tensornet_jax.data.labels.config import LabelConfig
from tensornet_jax.data.sources import content
from tensornet_jax.data.sources.opening import open_files
from tensornet_jax.data.sources.packing import packing
from tensornet_jax.data.sources.source import Chosen, Held, Joined, Rest, evenly
from tests.data.sources.many import many
from tests.data.sources.test_packed_file import check_same


def opened(paths, folder, labels=None):
    said: list[str] = []
    found = open_files(
        paths, labels or LabelConfig(), folder / "cache", said.append, lambda own, _: own
    )
    return found, said


def test_other_formats_are_packed_once_by_their_content(tmp_path):
    write_canonical(tmp_path / "a.xyz", many(9))
    first, said = opened([tmp_path / "a.xyz"], tmp_path)
    again, nothing = opened([tmp_path / "a.xyz"], tmp_path)
    assert "packed into" in said[0]
    assert not nothing
    assert first.checksum == again.checksum
    for one, other in zip(first.source, again.source, strict=True):
        check_same(one, other)
    assert first.source.source(3) == f"{tmp_path / 'a.xyz'}:3"
    write_canonical(tmp_path / "a.xyz", many(9, seed=1))
    changed, said = opened([tmp_path / "a.xyz"], tmp_path)
    assert said
    assert changed.checksum != first.checksum
    assert changed.source[0].energy != first.source[0].energy


def test_checksums_are_computed_again_only_where_files_may_have_changed(tmp_path, monkeypatch):
    write_canonical(tmp_path / "a.xyz", many(3))
    opened([tmp_path / "a.xyz"], tmp_path)
    monkeypatch.setattr(content, "sha256_of", lambda path: pytest.fail(f"{path} read again"))
    opened([tmp_path / "a.xyz"], tmp_path)


def test_packed_files_have_settled_what_labels_are_called(tmp_path):
    with packing(tmp_path / "a.packed") as packer:
        packer.add(many(1)[0])
    with pytest.raises(ValueError, match=r"a.packed: labels.energy cannot apply to a packed file"):
        opened([tmp_path / "a.packed"], tmp_path, LabelConfig(energy="E"))


def test_parts_and_sums_of_sources_count_as_lists_do():
    first, second = many(5), many(4, seed=1)
    joined = Joined([Held(first), Held(second)])
    everything = [*first, *second]
    assert list(joined) == everything
    chosen = Chosen(joined, np.array([7, 2]))
    assert [*chosen] == [everything[7], everything[2]]
    assert chosen[-1] is everything[2]
    rest = Rest(9, np.array([0, 1, 5, 8]))
    assert [int(rest[k]) for k in range(len(rest))] == [2, 3, 4, 6, 7]
    np.testing.assert_array_equal(rest[np.arange(5)], [2, 3, 4, 6, 7])
    assert list(Chosen(joined, rest))[3] is everything[6]


def test_samples_are_spread_evenly():
    np.testing.assert_array_equal(evenly(3, 5), [0, 1, 2])
    np.testing.assert_array_equal(evenly(101, 3), [0, 50, 100])
