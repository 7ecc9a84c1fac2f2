"""Is there an object of the trained kind at the point? Caveats of an image and of a contour on it.

A model draws on any image: it has learned that there is an object in the middle of its input.
"""

import numpy as np
from jaxtyping import Bool, UInt8

from data_pipelines.transforms import Placement
from prosona_jax.evaluation.in_distribution import Appearance, InDistribution

NOT_MEASURED = (
    "Presence unknown: how the training images appear to this model was not measured, so it cannot "
    "say whether there is an object at the point. A training that is started again measures it."
)
EMPTY = "Empty contour: the model draws nothing here."
CUT = (
    "Cut contour: it reaches the edge of the model's input, and what lies beyond is not drawn. "
    "Move the point to the middle of the object."
)
_NEAR_PX = 3.0  # of the model's grid; the shift of augmented training images, by default


def about_image(trained_on: InDistribution | None, image: Appearance) -> list[str]:
    """Returns a caveat for each score by which an image is unlike the training images.

    Args:
        trained_on: the training images of the model; None: they were not measured.
        image: one image.
    """
    if trained_on is None:
        return [NOT_MEASURED]
    found = []
    (distance,), (disagreement,) = trained_on.distance(image), image.disagreement
    if distance > trained_on.distance_limit:
        found.append(
            "Out of distribution: there may be no object at the point, because the image is unlike "
            f"the training images: its Mahalanobis distance is {distance:.3g}, and the limit is "
            f"{trained_on.distance_limit:.3g}."
        )
    if disagreement > trained_on.disagreement_limit:
        found.append(
            "Samples disagree: there may be no object at the point, because samples of the model "
            f"differ more than on the training images: their mean 1 - IoU is {disagreement:.2f}, "
            f"and the limit is {trained_on.disagreement_limit:.2f}."
        )
    return found


def about_contour(
    mask: Bool[np.ndarray, "h w"] | UInt8[np.ndarray, "h w"], placement: Placement
) -> list[str]:
    """Returns the caveats of a contour that a model drew on an image, before any margin.

    Args:
        mask: {0, 1} on the image's own grid.
        placement: the position of the model's input, whose middle is the point, on the image.
    """
    drawn = np.argwhere(mask)  # [p, 2]
    if not len(drawn):
        return [EMPTY]
    found = []
    seen = [np.flatnonzero(inside) for inside in placement.inverse().covered()]
    edges = np.array([(axis[0], axis[-1]) for axis in seen])  # [2, 2]
    if (drawn[:, :, None] == edges).any():
        found.append(CUT)
    middle = placement.start + np.array(placement.shape) // 2 * placement.step
    apart = np.linalg.norm((drawn - middle) / placement.step, axis=1)
    if apart.min() > _NEAR_PX:
        row, column = drawn[apart.argmin()].tolist()
        found.append(
            "Contour beside the point: nothing is drawn at the point; the contour's nearest pixel "
            f"is ({row}, {column})."
        )
    return found
