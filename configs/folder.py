"""Both stages on any folder of images and of several raters' masks.

docs/data.md says how to lay out a folder. First look at what is in it; this also writes a config
and a picture of some cases:

    python -m data_pipelines.inspect /data/mine --output=mine

    python -m prosona_jax.main --config=configs/folder.py --workdir=runs/mine \
      --config.data.path=/data/mine --config.data.layout=plain --config.data.unit=arbitrary

The run measures how each rater outlines, and writes the sentences itself (docs/prompts.md). With
--config.prompts.path=mine.yaml --config.stage_two.query=text it takes sentences of yours: a style
for each rater, in the order of their sorted names.
"""  # fmt: skip

import ml_collections

from configs import base


def get_config() -> ml_collections.ConfigDict:
    """Returns the config."""
    c = base.get_config()
    c.data.source = "folder"
    c.data.spacing_mm = 0.0  # the pixels of a folder are often of one size, or of an unknown one
    c.data.slices = "any"  # a rater who drew nothing on a slice has an opinion on it
    c.data.slices_beyond = 2  # so that contours end where the object ends
    c.data.crop = "organ"  # volumes are cropped around what any rater drew
    c.prompts.path = "measured"  # sentences from the habits that are measured on the raters
    c.stage_two.query = "habits"
    c.model.channels = (8, 16, 32, 64)  # a small network: such data sets have few cases
    c.model.convs_per_scale = 2
    c.steps = 3000
    c.stage_two.steps = 600
    c.evaluate.every_steps = 500
    c.lock()
    return c
