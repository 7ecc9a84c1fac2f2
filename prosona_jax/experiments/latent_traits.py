"""Measures what the latent dimensions of a run do, for its report."""

from collections.abc import Sequence

import jax
import numpy as np

from data_pipelines import traits
from prosona_jax.evaluation import disentanglement
from prosona_jax.experiments import build, inputs, predictions
from prosona_jax.experiments.build import Config
from prosona_jax.experiments.inputs import Data
from prosona_jax.report.figures import Panel
from prosona_jax.report.latent_summary import Explored
from prosona_jax.types import Params

STEPS = (-2.0, -1.0, 0.0, 1.0, 2.0)  # of a walk, in sigma of the prior
_RECORDS, _SAMPLES = 64, 16  # more change the numbers little, and every mask takes milliseconds


def of_run(
    config: Config, params: Params, data: Data, chosen: Sequence[int], panels: Sequence[Panel]
) -> Explored | None:
    """Returns the report's part about the latent dimensions; None if no panel is shown.

    Args:
        config: of the run.
        params: of its stage one.
        data: its data; at most 64 records of `config.data.split` are measured.
        chosen: the records of the panels; the walk is on that of the middle panel.
        panels: the panels of the report.
    """
    if not len(chosen):
        return None
    place = len(chosen) // 2
    measured = inputs.spread(data.drawn(config.data.split), _RECORDS)
    indices = np.unique([*measured.tolist(), chosen[place]])
    explore = predictions.step(config, build.explore_step, samples=_SAMPLES, steps=STEPS)
    batches = inputs.eval_batches(config, data.dataset, indices, everywhere=True)
    codes, of_samples, latents, of_raters, walks = [], [], [], [], None
    for batch, found in predictions.run(config, params, batches, explore):
        for i, index in enumerate(batch.index.tolist()):
            own = jax.tree.map(lambda x: np.asarray(x[i]), found)  # noqa: B023 - used at once
            valid = batch.rater_valid[i]
            codes.append(own.codes)
            of_samples.append(traits.of(own.samples, own.mean))
            latents.append(own.raters[valid])
            of_raters.append(traits.of(batch.masks[i][valid] > 0, own.mean))
            if index == chosen[place]:
                walks = own.walks
    assert walks is not None
    single = config.model.posterior_input == "single"
    return Explored(
        traits=traits.TRAITS,
        samples=disentanglement.separate(*_stacked(codes, of_samples)),
        shares=disentanglement.shares(*_stacked(latents, of_raters)) if single else None,
        records=len(indices),
        steps=STEPS,
        walks=walks,
        shown=panels[place],
    )


def _stacked(
    codes: Sequence[np.ndarray], found: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the rows of all images, and the image of each row."""
    image = np.repeat(np.arange(len(codes)), [len(own) for own in codes])
    return np.concatenate(codes).astype(float), np.concatenate(found), image
