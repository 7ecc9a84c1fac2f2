"""Both stages on microscopy crops of single cells that ten known raters outlined.

Five persons drew each cell with two tools (BU-BIL, Gurari et al., WACV 2015). Mask k comes from
the same person and tool in every image, so style k is the style of a real rater. The data are an
npz file of 128x128 crops in the format of docs/data.md. On two CPU cores, with nothing else
running, this takes about 6 minutes. docs/results.md has the numbers.

    python -m prosona_jax.main --config=configs/cells.py --workdir=runs/cells \
      --config.data.path=$DATA/cells_10_raters.npz
"""  # fmt: skip

import ml_collections

from configs import base


def get_config() -> ml_collections.ConfigDict:
    """Returns the config."""
    c = base.get_config()
    c.data.source = "npz"
    c.data.spacing_mm = 0.0
    c.data.validation_share = 0.2  # share of 34 or 35 images
    c.model.channels = (8, 16, 32, 64)  # a small network, for few images and two CPU cores
    c.model.convs_per_scale = 2
    c.batch_size = 6
    c.prompts.path = "configs/prompts/cells.yaml"
    c.steps = 400
    c.stage_two.steps = 200
    c.stage_two.batch_size = 4  # D-Persona's ten heads cost more than all else together
    c.evaluate.every_steps = 100
    c.checkpoint_every_steps = 200
    c.lock()
    return c
