"""Keep the memory of large arrays with the process between calls.

Every call of a compiled function on a CPU allocates its temporary arrays anew. glibc takes those
above 32 MB from the system one by one and gives them back right after, and the system clears every
page before it hands it out again: up to two fifths of the time of an energy with forces.
"""

import ctypes
import sys

# Names and numbers of <malloc.h>.
M_TRIM_THRESHOLD = -1
M_MMAP_MAX = -4
LARGEST_INT = 2**31 - 1


def keep_freed_memory() -> bool:
    """Let this process use freed memory again instead of giving it back to the system.

    It concerns all of the process: large arrays of other libraries are kept too, up to 2 GiB in one
    piece beyond what is in use. Call it once, before large arrays are made; the command line does.

    Returns:
        whether it has an effect, which it has where the C library is glibc (Linux).
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(M_MMAP_MAX, 0)) and bool(mallopt(M_TRIM_THRESHOLD, LARGEST_INT))
