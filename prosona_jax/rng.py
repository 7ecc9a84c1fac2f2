"""Random keys as arguments: named streams from one root key, one key per record.

A draw depends only on root, stream, step and record index. The number of devices, the position of a
record in its batch, and a restart do not change it. So no checkpoint stores a key.
"""

import jax
from jaxtyping import Array, Int, Key

# A stream's position is folded into its key: only append, or old seeds give other numbers.
STREAMS = (
    *("init", "augment", "rater", "posterior", "prior", "evaluate"),
    *("prompt", "dropout", "codes"),
)


def stream_key(root: Key[Array, ""], stream: str) -> Key[Array, ""]:
    """Returns the key of one named stream.

    Args:
        root: the run's only key, from ``jax.random.key(seed)``.
        stream: one of :data:`STREAMS`; another name raises ValueError.
    """
    return jax.random.fold_in(root, STREAMS.index(stream))


def example_keys(
    root: Key[Array, ""], stream: str, step: Int[Array, ""] | int, index: Int[Array, " b"]
) -> Key[Array, " b"]:
    """Returns fold_in(root, stream, step, index_i) for each record i of a batch, [b] keys."""
    step_key = jax.random.fold_in(stream_key(root, stream), step)
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(step_key, index)
