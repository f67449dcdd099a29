"""What a benchmark ran on: device, versions, load, and the speed the machine can reach at most."""

import os
import platform
import re
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypedDict

import jax
import jax.numpy as jnp

from tensornet_jax.benchmark.measure import Work, alternate, compile_work
from tensornet_jax.benchmark.operations import Operations, count_operations
from tensornet_jax.runtime.precision import precision_scope

PACKAGES = (
    "tensornet_jax",
    "jax",
    "jaxlib",
    "numpy",
    "scipy",
    "e3nn-jax",
    "cuequivariance",
    "cuequivariance-jax",
    "cuequivariance-ops-jax-cu12",
    "e3j",
    "e3j_ops",
    "e3x",
)
GEMM_SIZE = {"cpu": 2048}
COPY_BYTES = {"cpu": 2**28}
LARGE_GEMM_SIZE = 8192
LARGE_COPY_BYTES = 2**31


@dataclass(frozen=True)
class Peaks:
    """The most this machine reaches in one precision, measured.

    Attributes:
        dtype: float32 or float64.
        gemm_flops_per_s: of a square matrix product, 2 n³ operations.
        copy_bytes_per_s: read and written by adding 1 to an array in place, which is far larger
            than most caches.
        dispatch_s: time of a call that computes next to nothing, part of every time measured.
    """

    dtype: str
    gemm_flops_per_s: float
    copy_bytes_per_s: float
    dispatch_s: float


def measure_peaks(dtype: str, gemm_size: int | None = None, copy_bytes: int | None = None) -> Peaks:
    """Measure the roofs that a fraction of peak refers to; the fastest of many samples.

    Args:
        dtype: float32 or float64.
        gemm_size: rows and columns of the matrices; a size that fits the device if None.
        copy_bytes: bytes of the array that is copied; a size that fits the device if None.
    """
    backend = jax.default_backend()
    n = gemm_size or GEMM_SIZE.get(backend, LARGE_GEMM_SIZE)
    size = copy_bytes or COPY_BYTES.get(backend, LARGE_COPY_BYTES)
    with precision_scope(dtype):
        matrix = jnp.ones((n, n), dtype)
        product = compile_work(lambda a, b: a @ b, matrix, matrix)
        small = compile_work(lambda a: a + 1, jnp.zeros(8, dtype))
        [gemm, dispatch] = alternate([product, small], seconds=1.0)
        array = jnp.zeros(size // jnp.dtype(dtype).itemsize, dtype)
        add = jax.jit(lambda a: a + 1, donate_argnums=0)

        def step() -> jax.Array:
            nonlocal array
            array = add(array)
            return array

        [copy] = alternate([step], seconds=1.0)
    return Peaks(
        dtype=dtype,
        gemm_flops_per_s=2 * n**3 / gemm.minimum_s,
        copy_bytes_per_s=2 * array.nbytes / copy.minimum_s,
        dispatch_s=dispatch.median_s,
    )


class Roofline(TypedDict):
    """How near a program comes to what the machine could do, see `roofline`."""

    fraction_of_gemm: float | None
    fraction_of_copy: float | None
    fraction_of_peak: float | None
    bound: str | None


class MachineFacts(TypedDict):
    """Device, processor, threads, memory, load and settings."""

    platform: str
    device: str
    num_devices: int
    processor: str
    threads: int
    memory_bytes: int | None
    load_average: list[float] | None
    system: str
    xla_flags: str


def roofline(work: Work | Operations, seconds: float, peaks: Peaks) -> Roofline:
    """Return how near a time comes to what the machine could do with the same program.

    Two roofs: the operations at the speed of a large matrix product, and the bytes read and
    written at the speed of a large copy. The higher of the two fractions is the fraction of peak,
    and its roof is what bounds the program. Where arrays stay in a cache the second fraction can
    exceed 1.

    Args:
        work: XLA's count, of a program without loops, whose body XLA counts once, and without
            calls into a library; or that of `count_operations`. None where XLA does not count.
        seconds: of one call.
        peaks: of the machine.
    """
    of_flops = _fraction(work.flops, seconds * peaks.gemm_flops_per_s)
    of_bytes = _fraction(work.bytes_accessed, seconds * peaks.copy_bytes_per_s)
    known = {"operations": of_flops, "bandwidth": of_bytes}
    known = {name: value for name, value in known.items() if value is not None}
    bound = max(known, key=lambda name: known[name]) if known else None
    return {
        "fraction_of_gemm": of_flops,
        "fraction_of_copy": of_bytes,
        "fraction_of_peak": known[bound] if bound else None,
        "bound": bound,
    }


def costs(work: Work, seconds: float, peaks: Peaks) -> dict[str, object]:
    """Return what a program needs, loops multiplied out, and how near its time comes to the roofs.

    Args:
        work: the program.
        seconds: of one call.
        peaks: of the machine.
    """
    operations = count_operations(work.function, *work.arguments)
    return {
        "compile_s": work.compile_s,
        "temporary_bytes": work.temporary_bytes,
        "held_bytes": work.held_bytes,
        **asdict(operations),
        **roofline(operations, seconds, peaks),
    }


def _fraction(amount: float | None, most: float) -> float | None:
    return None if amount is None else amount / most


def describe_machine() -> MachineFacts:
    """Return device, processor, threads, memory, load and settings, without anything personal."""
    device = jax.devices()[0]
    return {
        "platform": device.platform,
        "device": device.device_kind,
        "num_devices": jax.device_count(),
        "processor": _processor(),
        "threads": _threads(),
        "memory_bytes": _memory(),
        "load_average": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
        "system": f"{platform.uname().system} {platform.machine()}",
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
    }


def installed_versions() -> dict[str, str | None]:
    """Return the version of Python and of every package that takes part; None if absent."""
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = None
    return versions


def machine_name() -> str:
    """Return a short name for a folder of results, e.g. cpu-2-cores or nvidia-h100-80gb-hbm3."""
    device = jax.devices()[0]
    if device.platform == "cpu":
        return f"cpu-{_threads()}-cores"
    return re.sub(r"[^a-z0-9]+", "-", device.device_kind.lower()).strip("-")


def _threads() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
