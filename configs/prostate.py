r"""Both stages on prostate MRI of several institutions, drawn by several known observers.

full: the embedded phantom, see docs/data.md. Patients, images and observers are simulated, so a
    score is an exercise and no clinical evidence. Both stages and the report need about 9 minutes
    of CPU time, which two CPU cores share.

    python -m prosona_jax.main --config=configs/prostate.py --workdir=runs/prostate

    Trained on four institutions and tested on the fifth:

    python -m prosona_jax.main --config=configs/prostate.py --workdir=runs/institution3 \
      --config.data.test_site="institution 3"

    With real data, in a folder of volumes:

    python -m prosona_jax.main --config=configs/prostate.py --workdir=runs/prostate158 \
      --config.data.source=folder --config.data.path=/data/prostate158

smoke: six patients of the phantom in seconds, for tests; its scores mean nothing.

    python -m prosona_jax.main --config=configs/prostate.py:smoke --workdir=runs/smoke
"""  # fmt: skip

import ml_collections

from configs import base


def get_config(variant: str = "full") -> ml_collections.ConfigDict:
    """Returns the config of one variant.

    Args:
        variant: full | smoke.
    """
    c = base.get_config()
    c.data.source = "phantom"
    c.data.size = 80
    c.data.spacing_mm = 1.0
    c.data.slices = "any"
    c.data.slices_beyond = 2
    c.data.crop = "organ"
    c.prompts.path = "measured"  # sentences from the habits that are measured on the raters
    c.stage_two.query = "habits"
    variants = {"full": lambda: _full(c), "smoke": lambda: _smoke(c)}
    if variant not in variants:
        raise ValueError(
            f"configs/prostate.py has no variant {variant!r}; choose from {sorted(variants)}"
        )
    variants[variant]()
    c.lock()
    return c


def _full(c: ml_collections.ConfigDict) -> None:
    c.model.channels = (8, 16, 32, 64)  # a small network, for two CPU cores
    c.model.convs_per_scale = 2
    # Patients lie on their backs, and all slices show them from the feet: none is turned much.
    c.augment.flip = c.evaluate.mirror = False
    c.augment.rotate_degrees = 15.0
    c.batch_size = c.stage_two.batch_size = 8
    c.steps = 800
    c.stage_two.steps = 400
    c.evaluate.every_steps = 200
    c.evaluate.samples = 16
    c.checkpoint_every_steps = 200


def _smoke(c: ml_collections.ConfigDict) -> None:
    c.data.phantom_cases = 6
    c.data.size = 32
    c.data.spacing_mm = 2.5
    c.data.slices = "largest"
    c.data.slices_beyond = 0
    c.data.folds = 2
    c.data.validation_share = 0.3
    base.shrink(c)
