"""Both stages on LIDC-IDRI: four raters, patients in four folds.

full: the embedded contours with simulated CT, or real CT by `--config.data.source=dicom` and
    `--config.data.path`; for a GPU or TPU. It was not yet run on one, so its time and its scores
    are unknown.

    python -m prosona_jax.main --config=configs/lidc.py --workdir=runs/lidc

crops64: real CT, an npz of native 64x64 crops. On two CPU cores, with nothing else running, it
    takes about 10 minutes. GED@50 is .113 and matched Dice 92.3 on the 148 test nodules of 95
    patients; docs/results.md has all numbers.

    python -m prosona_jax.main --config=configs/lidc.py:crops64 --workdir=runs/crops64 \
      --config.data.path=$DATA/lidc_crops.npz

demo: the embedded contours with simulated CT, as an exercise. It takes minutes on two CPU cores.

    python -m prosona_jax.main --config=configs/lidc.py:demo --workdir=runs/demo

smoke: the same in seconds, for tests; its scores mean nothing.

    python -m prosona_jax.main --config=configs/lidc.py:smoke --workdir=runs/smoke
"""  # fmt: skip

import ml_collections

from configs import base


def get_config(variant: str = "full") -> ml_collections.ConfigDict:
    """Returns the config of one variant.

    Args:
        variant: full | crops64 | demo | smoke.
    """
    c = base.get_config()
    c.prompts.degree_reader = "configs/prompts/degree_reader.safetensors"
    c.prompts.probe = "configs/prompts/probe"
    c.stage_two.text_noise = 0.1  # in degrees
    c.stage_two.ged = 0.25
    c.data.raters = "by_area"  # no release of LIDC-IDRI says which rater drew which mask
    variants = {
        "full": lambda: _full(c),
        "demo": lambda: _demo(c),
        "smoke": lambda: _smoke(c),
        "crops64": lambda: _crops64(c),
    }
    if variant not in variants:
        raise ValueError(
            f"configs/lidc.py has no variant {variant!r}; choose from {sorted(variants)}"
        )
    variants[variant]()
    c.lock()
    return c


def _full(c: ml_collections.ConfigDict) -> None:
    c.batch_size = c.stage_two.batch_size = 16  # divides among one, two, four or eight devices


def _demo(c: ml_collections.ConfigDict) -> None:
    c.data.size = 64
    c.data.spacing_mm = 0.75
    c.data.slices = "largest"
    c.steps = 600
    c.stage_two.steps = 600
    c.evaluate.every_steps = 200
    c.checkpoint_every_steps = 200


def _smoke(c: ml_collections.ConfigDict) -> None:
    c.prompts.probe = ""
    c.data.size = 32
    c.data.spacing_mm = 1.5
    c.data.slices = "largest"
    base.shrink(c)


def _crops64(c: ml_collections.ConfigDict) -> None:
    c.data.source = "npz"
    c.data.size = 64
    c.data.spacing_mm = 0.0
    c.steps = 1500
    c.stage_two.steps = 1000
    c.evaluate.every_steps = 250
