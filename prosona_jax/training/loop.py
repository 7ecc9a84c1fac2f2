"""The training loop: batches in, checkpoints and a history out, resumable at any moment."""

import contextlib
import math
import signal
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax

from prosona_jax.runtime import parallel
from prosona_jax.runtime.checkpoint import Checkpoints
from prosona_jax.runtime.monitor import Monitor
from prosona_jax.training.step import Metrics, TrainState
from prosona_jax.types import Diverged, Params, Preempted


@runtime_checkable
class Batches(Protocol):
    """An endless iterator over this process's batches; its position can be saved."""

    def __next__(self) -> Any:
        """Returns the next batch."""

    def get_state(self) -> dict[str, Any]:
        """Returns the position, as JSON."""

    def set_state(self, state: dict[str, Any]) -> None:
        """Moves to a position."""


class Schedule(NamedTuple):
    """Number of steps in total, and between log rows, validations and checkpoints."""

    steps: int
    log_every: int
    evaluate_every: int
    checkpoint_every: int


@contextlib.contextmanager
def _sigterm() -> Iterator[Callable[[], bool]]:
    """Keeps SIGTERM from ending the process; yields a function that returns whether it came."""
    if jax.process_count() > 1:  # JAX handles the signal itself, see parallel.should_stop.
        yield lambda: False
        return
    came = []
    before = signal.signal(signal.SIGTERM, lambda *_: came.append(True))
    try:
        yield lambda: bool(came)
    finally:
        signal.signal(signal.SIGTERM, before)


def _mean_of_finite(pending: list[tuple[int, Metrics]]) -> dict[str, float]:
    """Returns each metric's mean over the pending steps; Diverged if one is not finite."""
    fetched = [(step, jax.device_get(metrics)) for step, metrics in pending]
    for step, metrics in fetched:
        # The terms come before their sum and its gradient, so that the message names the cause.
        for name in sorted(metrics, key=lambda name: name in ("loss", "grad_norm")):
            if not math.isfinite(metrics[name]):
                raise Diverged(
                    f"step {step}: {name} is {float(metrics[name])}; earlier checkpoints are "
                    "kept. Lower this stage's learning_rate or optimizer.clip_norm, and start a "
                    "new workdir"
                )
    names = fetched[0][1]
    return {name: sum(float(m[name]) for _, m in fetched) / len(fetched) for name in names}


class _Log:
    """Writes the history, the last state and the best averaged parameters of a training."""

    def __init__(self, checkpoints: Checkpoints, monitor: Monitor, best: float) -> None:
        self._checkpoints, self._monitor, self._best = checkpoints, monitor, best
        self._pending: list[tuple[int, Metrics]] = []

    def add(self, step: int, metrics: Metrics) -> None:
        """Takes a step's metrics; the devices may still be computing them."""
        self._pending.append((step, metrics))
        self._monitor.advance()

    def write(self) -> None:
        """Writes the mean of the metrics since the last row; Diverged if one is not finite."""
        if self._pending:
            self._monitor.write(self._pending[-1][0], "train", _mean_of_finite(self._pending))
            self._pending.clear()

    def validated(self, step: int, scores: dict[str, float], cost: float, tree: Any) -> None:
        """Writes the scores; saves the tree as the best if its cost is the lowest so far."""
        self._monitor.write(step, "validation", scores)
        if cost < self._best:
            self._best = cost
            self._checkpoints.save("best", step, tree, {"step": step, **scores})

    def save(self, state: TrainState, step: int, position: dict[str, Any]) -> None:
        """Saves the state to resume from."""
        self.write()  # Raises Diverged, so that a diverged state is never saved.
        best = self._best if self._best < math.inf else None
        self._checkpoints.save("last", step, state, {"position": position, "best": best})


def train(
    state: TrainState,
    *,
    workdir: str,
    train_step: Callable[[TrainState, Any, jax.Array], tuple[TrainState, Metrics]],
    shard: Callable[[Any], Any],
    batches: Batches,
    root: jax.Array,
    validate: Callable[[Params], dict[str, float]],
    cost: Callable[[dict[str, float]], float],
    schedule: Schedule,
    carry: Params | None = None,
) -> TrainState:
    """Trains to ``schedule.steps`` and returns the final state.

    Training resumes from the last checkpoint in ``workdir``. Random draws depend on the step, and
    the data position is saved, so an interrupted run ends with the same parameters as one without
    interruption. The averaged parameters with the lowest ``cost`` of their validation scores are
    saved as ``best``: alone or, if there is a ``carry``, as ``{"average", "carry"}``.

    Raises:
        Diverged: a term is not finite. Nothing is saved after that.
        Preempted: SIGTERM came; the state is saved.
    """
    checkpoints = Checkpoints(workdir)
    best = math.inf
    if (restored := checkpoints.resume(state)) is not None:
        _, state, note = restored
        batches.set_state(note["position"])
        # If the best checkpoint is missing, its cost must not keep the next one from being saved.
        best = note["best"] if checkpoints.has_best() else math.inf
    step = int(state.step)
    monitor = Monitor(workdir, step=step, steps=schedule.steps)
    log = _Log(checkpoints, monitor, best)
    before: Metrics = {}
    with _sigterm() as asked_to_stop, contextlib.closing(checkpoints), contextlib.closing(monitor):
        while step < schedule.steps:
            state, metrics = train_step(state, shard(next(batches)), root)
            # Two pending steps keep the devices busy, and more gain nothing. On a CPU, more can
            # cause a deadlock: devices that share cores wait for one another's sums.
            jax.block_until_ready(before)
            before = metrics
            step += 1
            log.add(step, metrics)
            done = step == schedule.steps
            validates = step % schedule.evaluate_every == 0 or done
            if step % schedule.log_every == 0 or validates:
                log.write()
            if validates:
                kept, scores = state.average, validate(state.average)
                tree = kept if carry is None else {"average": kept, "carry": carry}
                log.validated(step, scores, cost(scores), tree)
            stop = parallel.should_stop(step, asked_to_stop())
            if step % schedule.checkpoint_every == 0 or done or stop:
                log.save(state, step, batches.get_state())
            if stop and not done:
                checkpoints.wait()
                raise Preempted(f"stopped at step {step}, saved; run the same command to continue")
        checkpoints.wait()
    return state
