"""Many devices: the same pure steps under ``jit`` on a mesh, or under ``pmap``.

Both wrappers take and return the same un-replicated trees, so a checkpoint moves between them, and
between any numbers of devices.
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
    """Makes this process one of several, as JAX finds them; InputError where it finds none."""
    try:
        jax.distributed.initialize()
    except (ValueError, RuntimeError) as error:
        raise InputError(
            f"--distributed: the other processes are not found ({error}); start this on every "
            "host of a TPU slice or a cluster, or leave the flag out"
        ) from None


@runtime_checkable
class Parallel(Protocol):
    """How steps run on devices: batches are split over them, everything else is repeated."""

    def replicate(self, tree: Any) -> Any:
        """Returns the tree on every device."""

    def shard(self, batch: T) -> T:
        """Returns this process's share of a batch as the global batch on the devices.

        Stage one's `Batch` or stage two's `Encoded`: any NamedTuple with an `index` [b].
        """

    def gather(self, tree: Any) -> Any:
        """Returns this process's share of a sharded result, as NumPy arrays in batch order."""

    def train_step(self, step: Callable[..., Any]) -> Callable[..., Any]:
        """Returns ``(state, batch, root) -> (state, metrics)``, compiled; it uses up the state."""

    def eval_step(self, step: Callable[..., Any]) -> Callable[..., Any]:
        """Returns ``(params, batch, root) -> result`` with a leading batch axis, compiled."""


def _check_divisible(batch: Any, devices: int) -> None:
    if len(batch.index) % devices:
        raise InputError(
            f"a batch of {len(batch.index)} records cannot be split over {devices} devices; make "
            "it a multiple of their number"
        )


def _put(tree: T, sharding: NamedSharding) -> T:
    """Returns what this process has of each array, on its devices."""
    # device_put would compare a replicated array among the processes: a round of messages for each.
    place = functools.partial(jax.make_array_from_process_local_data, sharding)
    return jax.tree.map(lambda x: place(np.asarray(x)), tree)


class OnMesh:
    """``jax.jit`` over all devices of all processes; the compiler inserts the sums."""

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
        # Each device sees its own records alone: the compiler would give a step that takes them one
        # by one all records on every device.
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
    """``jax.pmap`` over the devices; the step sums over the axis itself."""

    def __init__(self) -> None:
        self._mesh = Mesh(np.array(jax.devices()), (AXIS,))

    def replicate(self, tree: Any) -> Any:
        # Where the step's results lie, or its second call would compile anew.
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
            # Each process gets arrays of its own devices; as arrays of all, they can be saved.
            return multihost_utils.host_local_array_to_global_array(
                mapped(state, batch, root), self._mesh, PartitionSpec()
            )

        return everywhere

    def eval_step(self, step: Callable[..., Any]) -> Callable[..., Any]:
        return jax.pmap(step, AXIS, in_axes=(None, 0, None))


def create(kind: str) -> Parallel:
    """Returns the wrapper of that kind, "mesh" or "pmap"; another kind raises InputError."""
    kinds: dict[str, type[Parallel]] = {"mesh": OnMesh, "pmap": UnderPmap}
    if kind not in kinds:
        raise InputError(f"config.parallel is {kind!r}; choose from {sorted(kinds)}")
    return kinds[kind]()


def first_process_first(action: Callable[[], Any]) -> Any:
    """Runs the action on process 0, then on the others, and returns its result on each.

    For work that is done once and found done by the rest, such as preparing a data set in shared
    storage. Where process 0 fails, all do: none waits for it in vain.
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
    """Returns each array of all processes, one after the other along its first axis, everywhere.

    The processes' arrays have equal shapes.
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
    """Returns whether training ends after this step because the machine asked it to.

    With several processes they agree on one step, as they must save the same one.
    """
    if jax.process_count() == 1:
        return asked
    return multihost_utils.reached_preemption_sync_point(step)
