"""How far a pass over structures is, for a user who waits."""

from collections.abc import Callable, Iterable, Iterator

from tensornet_jax.data.labelled_structure import LabelledStructure

Show = Callable[[str, int, int], None]
"""Takes the work, how many structures are done, and of how many (0: not known)."""

_SHOWN_EVERY = 256


class Watcher:
    """Passes structures on, and shows how many they were.

    Args:
        show: is told how far a pass is.
    """

    def __init__(self, show: Show) -> None:
        self._show = show

    def __call__(
        self, structures: Iterable[LabelledStructure], what: str, total: int = 0
    ) -> Iterator[LabelledStructure]:
        """Yield the structures.

        Args:
            structures: any number of them.
            what: the work that is done with them.
            total: how many there are; 0 if that is not known.
        """
        done = 0
        for structure in structures:
            yield structure
            done += 1
            if done % _SHOWN_EVERY == 0 and done != total:
                self._show(what, done, total)
        self._show(what, done, done)
