"""The methods that `prosona_jax.compare` knows: the config fields that each method changes.

All methods share the config's U-Net, data, augmentation, number of training images and rule for
choosing a checkpoint. All second stages use the config's learning rate: of three rates, none was
better for any method (docs/experiments.md, trials 14 and 28). The second stages themselves are in
prosona_jax/experiments/second_stages.py.
"""

# The contrastive losses align text; a query without text has none.
_NO_TEXT = {
    "stage_two.latent": 0.0,
    "stage_two.visual": 0.0,
}

# D-Persona's heads choose by softmax(q . z) without scaling; `compare` sets the temperature for it.
# They are trained on each style alone.
_HEADS = {
    **_NO_TEXT,
    "stage_two.ged": 0.0,
    "stage_two.query": "heads",
    "stage_two.projection": "bank",
}

_ID = {**_NO_TEXT, "stage_two.query": "id"}

# D-Persona's posterior sees all masks, and the bound loss trains its samples. The beta of 1 in its
# code collapses the latent here; the config's beta is the best of three for this method, too
# (docs/experiments.md, trial 18).
_DPERSONA = {"model.posterior_input": "all", "loss.bound": 0.5, "loss.ged": 0.0}

# One network, trained end to end, with a mask for each rater or one for all. There is no prior.
_DIRECT = {
    **_NO_TEXT,
    "stage_two.query": "none",
    "loss.ged": 0.0,
    "loss.bound": 0.0,
}

METHODS: dict[str, dict[str, object]] = {
    # ProSona's stage one alone: samples of the prior, no styles.
    "prob_unet": {"stage_two.query": "none", **_NO_TEXT},
    # The whole of D-Persona's mechanism.
    "dpersona": {**_DPERSONA, **_HEADS},
    # D-Persona's heads on ProSona's stage one: shows the effect of the second stage alone.
    "dpersona_heads": _HEADS,
    # A learned query per style on D-Persona's stage one: shows the effect of its heads there.
    "dpersona_id": {**_DPERSONA, **_ID},
    # ProSona with a learned query per style: does language cost accuracy?
    "expert_id": _ID,
    # The config as it is. Its query reads sentences as "text", or as measured "habits".
    "prosona": {},
    # One mask for all raters, learned from their majority vote.
    "consensus": {**_DIRECT, "model.network": "consensus"},
    # A U-Net that all raters share, and a head for each.
    "branches": {**_DIRECT, "model.network": "branches"},
    # A U-Net for each rater.
    "unet_per_rater": {**_DIRECT, "model.network": "unet_per_rater"},
    # A learned Gaussian for each rater in the latent space.
    "pionono": {**_DIRECT, "model.network": "pionono"},
}
