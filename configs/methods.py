"""The methods that `prosona_jax.compare` knows: what each changes in a run's config.

U-Net, data, augmentation, budget of images and rule of selection are those of the config for all.
All second stages have the config's learning rate, which is as good as any of three for each of them
(docs/experiments.md, trials 14 and 28).
"""

# Queries that read no text have nothing to align.
_NO_TEXT = {
    "stage_two.latent": 0.0,
    "stage_two.visual": 0.0,
}

# D-Persona's heads choose by softmax(q . z), unscaled, for which `compare` sets the temperature.
_HEADS = {
    **_NO_TEXT,
    "stage_two.query": "heads",
    "stage_two.projection": "bank",
}

_ID = {**_NO_TEXT, "stage_two.query": "id"}

# Its posterior sees all masks, and the bound loss trains samples. Its code's beta of 1 presses the
# latent to nothing here; the config's is the best of three for it too (docs/experiments.md, 18).
_DPERSONA = {"model.posterior_input": "all", "loss.bound": 0.5, "loss.ged": 0.0}

METHODS: dict[str, dict[str, object]] = {
    # ProSona's stage one alone: samples of the prior, no styles.
    "prob_unet": {"stage_two.query": "none", **_NO_TEXT},
    # D-Persona's mechanism whole.
    "dpersona": {**_DPERSONA, **_HEADS},
    # The same heads on ProSona's stage one: what the second stage alone is worth.
    "dpersona_heads": _HEADS,
    # A learned query per style on D-Persona's stage one: what its heads are worth there.
    "dpersona_id": {**_DPERSONA, **_ID},
    # ProSona with a learned query per style: does language cost accuracy?
    "expert_id": _ID,
    "prosona": {"stage_two.query": "text"},
}
