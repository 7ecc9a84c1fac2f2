"""Turns a trained workdir into a model folder that can leave the machine."""

import json
import os
import pathlib
from typing import Any

from prosona_jax.experiments import runs
from prosona_jax.prediction import model_card, package, trained
from prosona_jax.prediction.trained import Trained
from prosona_jax.types import InputError, first_line

_CLEARED = {  # fields of the config that hold paths, patients or hospitals
    "data": {"path": "", "train_path": "", "cache_dir": "", "leave_out": [], "test_site": ""},
    "prompts": {"path": "", "encoder": "", "probe": ""},
}


def export(
    workdir: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    license: str = "",
    data_license: str = "",
) -> pathlib.Path:
    """Writes a model folder: what prediction needs of a workdir, and a model card.

        >>> pj.export("runs/lidc", "lidc-model")  # doctest: +SKIP
        >>> model = pj.load("lidc-model")  # doctest: +SKIP

    It holds no patient's id, no image, and no path of this machine. Large arrays are rounded to
    float16, which moves probabilities by about 1e-4.

    Args:
        workdir: the workdir of a run, or of one method of a comparison.
        output: the folder to write; an earlier model there is replaced.
        license: the model's licence, by its id on the Hugging Face hub, such as "cc-by-4.0".
        data_license: name, licence and address of the training data, for the model card.

    Returns:
        The folder that was written.

    Raises:
        InputError: no run was trained in the workdir, its report is of other checkpoints, or the
            output cannot be written or holds other files.
    """
    folder, written = pathlib.Path(workdir).expanduser(), pathlib.Path(output).expanduser()
    package.check(written)
    model = _cleared(trained.read(folder))
    report = _report(folder / "report" / "report.json", model)
    card = model_card.write(model, report, license=license, data_license=data_license)
    package.write(written, model, card)
    return written


def _cleared(model: Trained) -> Trained:
    """Returns a model whose run names no path and no patient; prediction needs none."""
    config = {
        part: value | _CLEARED[part] if part in _CLEARED else value
        for part, value in model.run.config.items()
    }
    # Its name remains, since the second stage depends on whether sentences are read by degree.
    reader = pathlib.PurePath(config["prompts"].get("degree_reader", "")).name
    config["prompts"] = config["prompts"] | {"degree_reader": reader}
    prompts = model.run.prompts
    if prompts and (folder := pathlib.Path(prompts["encoder"]["name"]).expanduser()).is_dir():
        # Elsewhere, `--encoder` names the folder.
        prompts = prompts | {"encoder": prompts["encoder"] | {"name": folder.name}}
    return model._replace(run=model.run._replace(config=config, prompts=prompts))


def _report(path: pathlib.Path, model: Trained) -> dict[str, Any] | None:
    """Returns the content of a run's report.json; None if the run was not evaluated."""
    try:
        report = json.loads(path.read_bytes())
        scored = report["provenance"]["checkpoint"]
    except FileNotFoundError:
        return None
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: is damaged ({first_line(error)}); start the training again, which writes the "
            "report anew"
        ) from error
    own = runs.checkpoint(model.step, model.second)
    if scored != own:
        raise InputError(
            f"{path}: scores other checkpoints ({scored}) than the workdir now has ({own}); start "
            "the training again, which writes the report anew"
        )
    return report
