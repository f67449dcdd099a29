"""What a benchmark of tensor products puts on record, and its form as JSON."""

from dataclasses import asdict, dataclass, field
from typing import Literal

from tensornet_jax.benchmark.cases import Case
from tensornet_jax.benchmark.machine import MachineFacts, Peaks
from tensornet_jax.runtime.sealed_file import Json

Direction = Literal["forward", "forward_backward"]
DIRECTIONS: tuple[Direction, ...] = ("forward", "forward_backward")
FORMAT = 1


@dataclass(frozen=True)
class Settings:
    """How long and how large a benchmark may be.

    Attributes:
        seconds: wanted for timing each contender in each case and direction.
        fewest, most: bounds on the number of samples.
        memory_bytes: a program whose arguments, results and intermediate arrays are larger is not
            run.
        compile_seconds: a contender that took longer to prepare or to compile gets no larger L.
        seed: of the features.
    """

    seconds: float = 0.3
    fewest: int = 7
    most: int = 200
    memory_bytes: int = 4 * 2**30
    compile_seconds: float = 60.0
    seed: int = 0


@dataclass(frozen=True)
class Record:
    """One contender in one case and direction; None where it was not measured.

    Attributes:
        regime, l_max, channels, batch, dtype, full_output: the case.
        l1, l2, l3: lowest and highest degrees of x, y and z.
        contender, library, computes, layout, note: who, what map and how; see `Task`.
        apart: whether the paths of the output stay apart.
        direction: forward, or forward_backward: the output and the gradients with respect to both
            inputs for a fixed cotangent of the output, which is an argument of the program.
        status: measured or skipped, with the reason.
        num_paths: couplings in the output; their list is in the results under `path_list`.
        path_list: key of that list.
        output_size: numbers in the output of one product.
        live_size: how many of those can differ from zero.
        error: largest deviation from the float64 contraction with the coefficients, relative to
            its largest number, over a few samples.
        compile_s, median_s, lower_quartile_s, upper_quartile_s, minimum_s, samples: times.
        products_per_s: pairs of features a second, over all channels.
        bytes_per_s: bytes of x, y and the live part of z (and as many again for the cotangent and
            the gradients) over the time.
        flops, bytes_accessed: XLA's cost analysis.
        temporary_bytes: intermediate arrays.
        fraction_of_gemm, fraction_of_copy, fraction_of_peak, bound: see `machine.roofline`.
    """

    regime: str
    l_max: int
    channels: int
    batch: int
    dtype: str
    full_output: bool
    l1: tuple[int, int]
    l2: tuple[int, int]
    l3: tuple[int, int]
    contender: str
    library: str
    apart: bool
    direction: Direction
    status: Literal["measured", "skipped"] = "skipped"
    reason: str = ""
    computes: str | None = None
    layout: str | None = None
    note: str | None = None
    num_paths: int | None = None
    path_list: str | None = None
    output_size: int | None = None
    live_size: int | None = None
    error: float | None = None
    compile_s: float | None = None
    median_s: float | None = None
    lower_quartile_s: float | None = None
    upper_quartile_s: float | None = None
    minimum_s: float | None = None
    samples: int | None = None
    products_per_s: float | None = None
    bytes_per_s: float | None = None
    flops: float | None = None
    bytes_accessed: float | None = None
    temporary_bytes: int | None = None
    fraction_of_gemm: float | None = None
    fraction_of_copy: float | None = None
    fraction_of_peak: float | None = None
    bound: str | None = None

    @property
    def case(self) -> Case:
        """The case it belongs to."""
        return Case(
            regime=self.regime,  # pyright: ignore[reportArgumentType]
            l_max=self.l_max,
            channels=self.channels,
            batch=self.batch,
            dtype=self.dtype,  # pyright: ignore[reportArgumentType]
            full_output=self.full_output,
        )


@dataclass
class Results:
    """Everything a run found out; `to_json` and `from_json` go through plain dicts and lists.

    Attributes:
        machine: device, processor, threads, load.
        versions: package → version, None where it is not installed.
        settings: of the run.
        peaks: what the machine reaches at most, in each precision.
        records: one a contender, case and direction.
        paths: key → list of paths "l1 l2 l3".
        expressivity: key of a list of paths → dimension of the maps that a product with weights
            can realize; see `tensornet_jax.ops.expressivity`.
        seconds: how long the run took.
    """

    machine: MachineFacts
    versions: dict[str, str | None]
    settings: Settings
    peaks: dict[str, Peaks] = field(default_factory=dict)
    records: list[Record] = field(default_factory=list)
    paths: dict[str, list[str]] = field(default_factory=dict)
    expressivity: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    def to_json(self) -> dict[str, object]:
        """Return a dict for `json.dump`."""
        return {"format": FORMAT, "benchmark": "tensor_products", **asdict(self)}

    @classmethod
    def from_json(cls, content: Json) -> "Results":
        """Return results that were written before."""
        content = dict(content)
        if content.pop("format", None) != FORMAT:
            raise ValueError(f"results are not of format {FORMAT}: measure again")
        content.pop("benchmark")
        degrees = ("l1", "l2", "l3")
        content["settings"] = Settings(**content["settings"])
        content["peaks"] = {name: Peaks(**value) for name, value in content["peaks"].items()}
        content["records"] = [
            Record(**(record | {name: tuple(record[name]) for name in degrees}))
            for record in content["records"]
        ]
        return cls(**content)
