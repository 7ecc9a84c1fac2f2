"""Runs the pure steps on many devices, under ``jit`` on a mesh or under ``pmap``.

Both wrappers take and return the same un-replicated trees. A checkpoint can therefore be used with
either wrapper and with any number of devices.
"""

import functools
import json
from collections.abc import Callable
from typing import Any, Protocol, TypeVar, runtime_checkable

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from prosona_jax.types import InputError

T = TypeVar("T")
AXIS = "data"


def join_processes() -> None:
    """Connects this process with the others that JAX finds; raises InputError if it finds none."""
    try:
        jax.distributed.initialize()
    except (ValueError, RuntimeError) as error:
        raise InputError(
            f"--distributed: the other processes are not found ({error}); start this on every "
            "host of a TPU slice or a cluster, or leave the flag out"
        ) from None


@runtime_checkable
class Parallel(Protocol):
    """Runs steps on devices: batches are split over the devices, other arrays are replicated."""

    def replicate(self, tree: Any) -> Any:
        """Returns the tree on every device."""

    def shard(self, batch: T) -> T:
        """Puts this process's share of a batch on its devices, and returns the global batch.

        A batch is any NamedTuple with an `index` [b], for example `Batch` or `Encoded`.
        """

    def gather(self, tree: Any) -> Any:
        """Returns this process's share of a sharded result, as NumPy arrays in batch order."""

    def train_step(self, step: Callable[..., Any]) -> Callable[..., Any]:
        """Compiles ``(state, batch, root) -> (state, metrics)``; the old state is deleted."""

    def eval_step(self, step: Callable[..., Any]) -> Callable[..., Any]:
        """Compiles ``(params, batch, root) -> result``; the result has a leading batch axis."""


def _check_divisible(batch: Any, devices: int) -> None:
    if len(batch.index) % devices:
        raise InputError(
            f"a batch of {len(batch.index)} records cannot be split over {devices} devices; make "
            "it a multiple of their number"
        )


def _put(tree: T, sharding: NamedSharding) -> T:
    """Returns global arrays from this process's part of each array."""
    # device_put would compare each replicated array between the processes, which costs messages.
    make_array = functools.partial(jax.make_array_from_process_local_data, sharding)
    return jax.tree.map(lambda x: make_array(np.asarray(x)), tree)


class OnMesh:
    """``jax.jit`` over all devices of all processes; the compiler inserts the sums over them."""

    def __init__(self) -> None:
        self._mesh = Mesh(np.array(jax.devices()), (AXIS,))
        self._split = NamedSharding(self._mesh, PartitionSpec(AXIS))
        self._whole = NamedSharding(self._mesh, PartitionSpec())

    def replicate(self, tree: Any) -> Any:
        return _put(tree, self._whole)

    def shard(self, batch: T) -> T:
        _check_divisible(batch, jax.local_device_count())
        return _put(batch, self._split)

    def gather(self, tree: Any) -> Any:
        def local(array: jax.Array) -> np.ndarray:
            shards = sorted(array.addressable_shards, key=lambda shard: shard.index[0].start or 0)
            return np.concatenate([np.asarray(shard.data) for shard in shards])

        return jax.tree.map(local, tree)

    def train_step(self, step: Callable[..., Any]) -> Callable[..., Any]:
        return jax.jit(
            step,
            in_shardings=(self._whole, self._split, self._whole),
            out_shardings=(self._whole, self._whole),
            donate_argnums=0,
        )

    def eval_step(self, step: Callable[..., Any]) -> Callable[..., Any]:
        # With shard_map, each device has only its own records. Otherwise the compiler would copy
        # all records to every device if a step takes them one by one.
        specs = PartitionSpec(), PartitionSpec(AXIS), PartitionSpec()
        own = jax.shard_map(
            step, mesh=self._mesh, in_specs=specs, out_specs=PartitionSpec(AXIS), check_vma=False
        )
        return jax.jit(
            own,
            in_shardings=(self._whole, self._split, self._whole),
            out_shardings=self._split,
        )


class UnderPmap:
    """``jax.pmap`` over the devices; the step itself sums over the axis."""

    def __init__(self) -> None:
        self._mesh = Mesh(np.array(jax.devices()), (AXIS,))

    def replicate(self, tree: Any) -> Any:
        # The same sharding as the step's results. Otherwise its second call would compile again.
        return _put(tree, NamedSharding(self._mesh, PartitionSpec()))

    def shard(self, batch: T) -> T:
        devices = jax.local_device_count()
        _check_divisible(batch, devices)
        return jax.tree.map(lambda x: np.reshape(x, (devices, -1, *np.shape(x)[1:])), batch)

    def gather(self, tree: Any) -> Any:
        return jax.tree.map(lambda x: np.reshape(x, (-1, *x.shape[2:])), tree)

    def train_step(self, step: Callable[..., Any]) -> Callable[..., Any]:
        step = functools.partial(step, axis_name=AXIS)
        mapped = jax.pmap(
            step, AXIS, in_axes=(None, 0, None), out_axes=(None, None), donate_argnums=0
        )

        def everywhere(state: Any, batch: Any, root: jax.Array) -> Any:
            # pmap returns arrays of this process's devices. Only global arrays can be saved.
            return multihost_utils.host_local_array_to_global_array(
                mapped(state, batch, root), self._mesh, PartitionSpec()
            )

        return everywhere

    def eval_step(self, step: Callable[..., Any]) -> Callable[..., Any]:
        return jax.pmap(step, AXIS, in_axes=(None, 0, None))


def create(kind: str) -> Parallel:
    """Returns the wrapper of a kind, "mesh" or "pmap"; raises InputError for another kind."""
    kinds: dict[str, type[Parallel]] = {"mesh": OnMesh, "pmap": UnderPmap}
    if kind not in kinds:
        raise InputError(f"config.parallel is {kind!r}; choose from {sorted(kinds)}")
    return kinds[kind]()


def first_process_first(action: Callable[[], Any]) -> Any:
    """Runs the action on process 0 and then on the others; returns its result on each process.

    This is for work that process 0 does and the others find done, for example to prepare a data set
    in shared storage. If the action fails on process 0, all processes raise, so that none waits.
    """
    if jax.process_count() == 1:
        return action()
    first, fault, result = jax.process_index() == 0, None, None
    try:
        result = action() if first else None
    except Exception as error:
        fault = error
    failed = multihost_utils.broadcast_one_to_all(np.array(fault is not None))
    if fault is not None:
        raise fault
    if failed:
        raise InputError("the first process has stopped; its message says why")
    return result if first else action()


def gather_rows(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the rows of all processes, ordered by process, on every process."""
    if jax.process_count() == 1:
        return rows
    payload = np.frombuffer(json.dumps(rows).encode(), np.uint8)
    sizes = multihost_utils.process_allgather(np.array([payload.size]))  # [processes, 1]
    padded = np.zeros(int(np.max(sizes)), np.uint8)
    padded[: payload.size] = payload
    everyone = multihost_utils.process_allgather(padded)  # [processes, longest]
    shares = [bytes(line[: int(size)]) for line, size in zip(everyone, sizes[:, 0], strict=True)]
    return [row for share in shares for row in json.loads(share)]


def gather_arrays(tree: Any) -> Any:
    """Returns, on every process, each array of all processes, concatenated along its first axis.

    The arrays have the same shape on every process.
    """
    if jax.process_count() == 1:
        return tree
    return multihost_utils.process_allgather(tree, tiled=True)


def all_agree(yes: bool) -> bool:
    """Returns whether all processes say yes, on each of them."""
    if jax.process_count() == 1:
        return yes
    return bool(np.all(multihost_utils.process_allgather(np.array(yes))))


def should_stop(step: int, asked: bool) -> bool:
    """Returns whether training ends after this step because the machine asked for it.

    Several processes agree on one step, because all of them must save the same step.
    """
    if jax.process_count() == 1:
        return asked
    return multihost_utils.reached_preemption_sync_point(step)
