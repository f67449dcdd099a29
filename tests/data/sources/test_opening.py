"""Files are opened as they are where they can be read by index, and packed once where not."""

import ase.io
import numpy as np
import pytest
from ase import Atoms

from tensornet_jax.data.labels.canonical_file import write_canonical
from tensornet_jax.data.labels.config import LabelConfig
from tensornet_jax.data.sources import content
from tensornet_jax.data.sources.opening import open_files
from tensornet_jax.data.sources.packing import packing
from tensornet_jax.data.sources.source import Chosen, Held, Joined, Rest, evenly
from tensornet_jax.train.data.sections import Section
from tests.data.sources.many import many
from tests.data.sources.test_packed_file import check_same


def opened(paths, folder, labels=None, **more):
    said: list[str] = []
    found = open_files(
        paths, labels or LabelConfig(), folder / "cache", said.append, lambda own, _: own, **more
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


def test_keys_that_are_named_have_to_be_in_some_file(tmp_path):
    paths = [tmp_path / "a.xyz", tmp_path / "b.xyz"]
    for path, key in zip(paths, ("E", "other"), strict=True):
        ase.io.write(path, [Atoms("H", info={key: -1.0}), Atoms("H", info={key: -2.0})])
    found, _ = opened(paths, tmp_path, LabelConfig(energy="E"))
    np.testing.assert_array_equal([each.energy for each in found.source], [-1, -2, np.nan, np.nan])
    # Once more, since the copy is there then.
    for _ in range(2):
        with pytest.raises(ValueError, match=r"energy is 'E', which no structure has.*other"):
            opened(paths[1:], tmp_path, LabelConfig(energy="E"))
    opened(paths[1:], tmp_path, LabelConfig(energy="E"), require_configured=False)


def test_structures_of_a_head_are_those_of_its_sections():
    lengths, heads = (4, 3, 5, 2), ("b", "a", "b", "c")
    parts = [many(n, seed=n) for n in lengths]
    joined = Joined([Section(Held(p), h, 1.0) for p, h in zip(parts, heads, strict=True)])
    without = np.array([0, 5, 6, 9, 13])
    rest = Chosen(joined, Rest(14, without))
    every_other = Chosen(joined, np.arange(1, 14, 2))
    for source, left in (
        (joined, range(14)),
        (rest, sorted({*range(14)} - {*without.tolist()})),
        (every_other, range(1, 14, 2)),
        (rest.of_head("b"), [1, 2, 3, 7, 8, 10, 11]),
    ):
        assert len(source) == len(left)
        of_all = [head for head, n in zip(heads, lengths, strict=True) for _ in range(n)]
        for head in "abcd":
            expected = [k for k in left if of_all[k] == head]
            found = source.of_head(head)
            assert len(found) == len(expected)
            assert [found.source(k) for k in range(len(found))] == [
                joined.source(k) for k in expected
            ]
            assert all(each.head == head for each in found)
    np.testing.assert_array_equal(joined.places_of("b")[np.array([0, 3, 4, 8])], [0, 3, 7, 11])
    with pytest.raises(ValueError, match="have to ascend"):
        Chosen(joined, np.array([7, 2])).of_head("a")


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
