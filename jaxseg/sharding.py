"""Where arrays live: one mesh of three named axes, and the placement of batches and states on it.

Only this file deals with devices. `data` and `fsdp` both split the batch; `fsdp` also splits the
large parameters; `space` splits the rows of every image, and XLA exchanges the halos of
convolutions automatically.
"""

import dataclasses
import math
import os
import re
from collections.abc import Mapping
from typing import Any

import chex
import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from numpy.typing import NDArray

from jaxseg.errors import COUNT, UserError

AXES = ("data", "fsdp", "space")
SMALL = 2**14
"""Leaves of fewer elements are replicated: gathering them costs more than storing them."""
THREADS = 32
"""Threads of XLA for each CPU device that it simulates."""


@dataclasses.dataclass(frozen=True)
class MeshShape:
    """Number of devices along each axis of the mesh.

    Attributes:
        data: Devices that each take a part of the batch; -1 = all devices that the other two axes
            leave.
        fsdp: Devices that each take a part of the batch and of every large parameter, gradient
            and optimizer moment.
        space: Devices that each take a band of rows of every image, for images too large for one
            device.
    """

    data: int = dataclasses.field(default=-1, metadata={"least": -1})
    fsdp: int = dataclasses.field(default=1, metadata=COUNT)
    space: int = dataclasses.field(default=1, metadata=COUNT)


FEWEST_ROWS = 8
"""Rows of an image that a device must have: with fewer than a kernel's padding, as three of a 7x7
one, XLA's partitioner (jax 0.10.2) computes other numbers, silently."""


def give_pretended_devices_threads() -> None:
    """Lets XLA start 32 threads for each CPU device that `XLA_FLAGS` simulates.

    A collective blocks a thread until all devices have reached it, and a device does not wait for
    the reduction of one gradient before it starts the next. XLA starts one thread per core, or
    `NPROC` threads if that is set when the CPU backend is initialized, 256 at most for its
    computations. When all of them are blocked, the devices wait for each other forever: a training
    of a ResNet U-Net on eight devices and two cores stopped so at once with 12 threads. It is rarer
    with more, but still happens to large networks. An existing value of `NPROC` is kept.
    """
    pretended = re.search(
        r"--xla_force_host_platform_device_count=(\d+)", os.environ.get("XLA_FLAGS", "")
    )
    if pretended:
        os.environ.setdefault("NPROC", str(THREADS * int(pretended[1])))


give_pretended_devices_threads()  # must run before the CPU backend is initialized


def make_mesh(shape: MeshShape, devices: list[jax.Device] | None = None) -> Mesh:
    """The mesh of `shape` over `devices` (default: all devices of all processes).

    Raises:
        UserError: The product of the axes is not the number of devices.
    """
    devices = jax.devices() if devices is None else devices
    sizes = axis_sizes(shape, len(devices))
    # Explicit axes (the default of make_mesh) break the gradient of convolutions over sharded rows.
    return jax.make_mesh(
        tuple(sizes.values()), AXES, axis_types=(AxisType.Auto,) * 3, devices=devices
    )


def axis_sizes(shape: MeshShape, count: int) -> dict[str, int]:
    """The number of devices along each axis of the mesh of `shape` over `count` devices.

    Raises:
        UserError: The product of the axes is not `count`.
    """
    sizes = [shape.data, shape.fsdp, shape.space]
    if shape.data == -1:
        sizes[0] = count // max(1, shape.fsdp * shape.space)
    if min(sizes) < 1 or math.prod(sizes) != count:
        raise UserError(
            f"Mesh data={shape.data}, fsdp={shape.fsdp}, space={shape.space} on {count} device(s): "
            f"all three must be positive, and their product {count}. Use --config.mesh.data -1 "
            f"(all that remain) and divisors of {count} for the others."
        )
    return dict(zip(AXES, sizes, strict=True))


def platform_of(mesh: Mesh) -> str:
    """What the mesh's devices are: `cpu`, `gpu` or `tpu`."""
    platform: str = mesh.devices.flat[0].platform
    return platform


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Placement of every (B, H, W, ...) array: batch over `data` and `fsdp`, rows over `space`."""
    return NamedSharding(mesh, PartitionSpec(("data", "fsdp"), "space"))


def replicated(mesh: Mesh) -> NamedSharding:
    """Placement of arrays that every device holds in full."""
    return NamedSharding(mesh, PartitionSpec())


def state_shardings(mesh: Mesh, abstract_state: chex.ArrayTree) -> chex.ArrayTree:
    """A NamedSharding for every leaf; large leaves are split along `fsdp`.

    A large leaf is split along its largest axis that `fsdp` divides. The rule depends on shapes
    only, so optimizer moments and averages are placed like their parameters.
    """
    parts = mesh.shape["fsdp"]

    def placement(leaf: jax.ShapeDtypeStruct) -> NamedSharding:
        axes = [axis for axis, size in enumerate(leaf.shape) if size % parts == 0]
        if parts == 1 or math.prod(leaf.shape) < SMALL or not axes:
            return replicated(mesh)
        cut = max(axes, key=lambda axis: leaf.shape[axis])
        return NamedSharding(mesh, PartitionSpec(*[None] * cut, "fsdp"))

    return jax.tree.map(placement, abstract_state)


def gathered(mesh: Mesh, tree: chex.ArrayTree) -> chex.ArrayTree:
    """Inside jit: the full leaves on every device, while they are used.

    This is what makes `fsdp` fully sharded data parallelism (Rajbhandari et al., ZeRO, 2020) and
    not a split of the computation by channels. By default XLA (jax 0.10.2) does the latter, and its
    results are wrong if rows are split too: the features of one residual block were off by 180 %.
    """
    whole: chex.ArrayTree = jax.lax.with_sharding_constraint(tree, replicated(mesh))
    return whole


def of_each_device(mesh: Mesh, value: np.generic) -> jax.Array:
    """(D,) one value for each of all D devices; each process gives that of its own devices."""
    local = sum(device.process_index == jax.process_index() for device in mesh.devices.flat)
    values: jax.Array = jax.make_array_from_process_local_data(
        NamedSharding(mesh, PartitionSpec(AXES)), np.full(local, value)
    )
    return values


def check_batch(mesh: Mesh, batch_size: int, height: int) -> None:
    """Rejects a batch that the mesh cannot split evenly.

    Raises:
        UserError: `batch_size` is not a multiple of data * fsdp, `height` is not a multiple of
            space or too small for it, or the rows of one image would lie in two processes.
    """
    check_sizes(mesh.shape, batch_size, height, jax.local_device_count())


def check_sizes(sizes: Mapping[str, int], batch_size: int, height: int, local: int) -> None:
    """The same for a mesh of these sizes, with `local` devices in each process."""
    parts, space = sizes["data"] * sizes["fsdp"], sizes["space"]
    if batch_size % parts:
        raise UserError(
            f"Batch of {batch_size} over {parts} devices (data x fsdp): give a multiple of "
            f"{parts}, for example --config.data.batch-size "
            f"{math.ceil(batch_size / parts) * parts}, or a mesh with fewer of them."
        )
    if height % space:
        raise UserError(
            f"Windows of {height} rows over {space} devices (space): give a multiple of {space}."
        )
    if space > 1 and height < FEWEST_ROWS * space:
        raise UserError(
            f"Windows of {height} rows over {space} devices (space): a device needs at least "
            f"{FEWEST_ROWS} rows. Give windows of {FEWEST_ROWS * space} rows or more, or a smaller "
            "--config.mesh.space."
        )
    if local % space:
        raise UserError(
            f"space={space} with {local} device(s) per process: the rows of an image must stay in "
            "one process. Use a divisor of the devices per process."
        )


def local_positions(mesh: Mesh, batch_size: int) -> list[int]:
    """Which positions of the global batch this process has to load, in ascending order."""
    indices = batch_sharding(mesh).addressable_devices_indices_map(
        (batch_size, mesh.shape["space"])
    )
    rows = [index[0] for index in indices.values() if index]
    return sorted({i for part in rows for i in range(*part.indices(batch_size))})


def place_batch(mesh: Mesh, local_batch: dict[str, NDArray[Any]]) -> dict[str, jax.Array]:
    """Puts this process's part of a batch on its devices and returns the global batch."""
    batch: dict[str, jax.Array] = jax.make_array_from_process_local_data(
        batch_sharding(mesh), local_batch
    )
    return batch
