"""GPUs as XLA has to know them to compile for one that is not there.

Sizes are those that NVIDIA publishes for H100 (SXM5, 80 GB), A100 (SXM4, 80 GB) and GeForce RTX
4090, and that CUDA reports for compute capabilities 9.0, 8.0 and 8.9.
"""

from dataclasses import dataclass

GIGABYTE = 1e9
# Of the published bandwidth, what a large copy reaches.
ATTAINED = 0.9
# Seconds between the starts of two short kernels, within a CUDA graph and one by one.
LAUNCH_IN_GRAPH, LAUNCH = 1e-6, 2e-6


@dataclass(frozen=True)
class Device:
    """A GPU.

    title: as tables call it.
    description: as CUDA calls it.
    capability: compute capability, major and minor.
    processors: streaming multiprocessors.
    lanes: float32 lanes of each.
    threads: that each holds at once.
    clock: GHz, boost.
    bandwidth: of its memory as published, bytes/s.
    memory: bytes.
    l2_cache: bytes.
    shared: shared memory of each multiprocessor and, of that, of one block; bytes.
    """

    title: str
    description: str
    capability: tuple[int, int]
    processors: int
    lanes: int
    threads: int
    clock: float
    bandwidth: float
    memory: int
    l2_cache: int
    shared: tuple[int, int]

    @property
    def target(self) -> str:
        """The description in the text format of XLA's `GpuTargetConfigProto`."""
        return f"""
gpu_device_info {{
  threads_per_block_limit: 1024
  threads_per_warp: 32
  shared_memory_per_block: 49152
  shared_memory_per_core: {self.shared[0]}
  shared_memory_per_block_optin: {self.shared[1]}
  threads_per_core_limit: {self.threads}
  core_count: {self.processors}
  fpus_per_core: {self.lanes}
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  memory_bandwidth: {self.bandwidth:.0f}
  l2_cache_size: {self.l2_cache}
  clock_rate_ghz: {self.clock}
  device_memory_size: {self.memory}
  cuda_compute_capability {{ major: {self.capability[0]} minor: {self.capability[1]} }}
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 7 }}
runtime_version {{ major: 12 minor: 8 patch: 0 }}
device_description_str: "{self.description}"
"""

    def seconds(self, kernels: float, moved: float, launch: float = LAUNCH_IN_GRAPH) -> float:
        """Return the least time of a program: of its launches or of its bytes, whichever is more.

        Args:
            kernels: launched.
            moved: bytes read and written.
            launch: seconds a launch.
        """
        return max(kernels * launch, moved / (ATTAINED * self.bandwidth))


DEVICES = {
    "h100": Device(
        title="H100",
        description="NVIDIA H100 80GB HBM3",
        capability=(9, 0),
        processors=132,
        lanes=128,
        threads=2048,
        clock=1.98,
        bandwidth=3.352e12,
        memory=84_929_347_584,
        l2_cache=50 << 20,
        shared=(228 << 10, 227 << 10),
    ),
    "a100": Device(
        title="A100",
        description="NVIDIA A100-SXM4-80GB",
        capability=(8, 0),
        processors=108,
        lanes=64,
        threads=2048,
        clock=1.41,
        bandwidth=2.039e12,
        memory=84_987_740_160,
        l2_cache=40 << 20,
        shared=(164 << 10, 163 << 10),
    ),
    "rtx4090": Device(
        title="RTX 4090",
        description="NVIDIA GeForce RTX 4090",
        capability=(8, 9),
        processors=128,
        lanes=128,
        threads=1536,
        clock=2.52,
        bandwidth=1.008e12,
        memory=25_757_220_864,
        l2_cache=72 << 20,
        shared=(100 << 10, 99 << 10),
    ),
}
