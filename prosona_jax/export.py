r"""Writes a trained model as a folder that others can use, or that the Hugging Face hub can hold.

    python -m prosona_jax.export --workdir=runs/lidc --output=lidc-model
    python -m prosona_jax.export --workdir=runs/lidc --output=lidc-model --license=cc-by-4.0 \
      --data_license="LIDC-IDRI, CC BY 3.0, https://doi.org/10.1118/1.3528204"
    python -m prosona_jax.predict --model=lidc-model --image=crop.png --output=out --style=core

The folder gets `config.json`, `model.safetensors`, `prompts.safetensors`, a model card in
`README.md`, and `SHA256SUMS`. It holds no patient's id, no image, and no path of this machine.
"""  # fmt: skip

import logging

from absl import flags

from prosona_jax import cli
from prosona_jax.prediction.exporting import export

_FLAGS = flags.FlagValues()
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder of the trained run.", required=True, flag_values=_FLAGS
)
_OUTPUT = flags.DEFINE_string(
    "output", None, "Folder to write; an earlier model there is replaced.", required=True,
    flag_values=_FLAGS,
)  # fmt: skip
_LICENSE = flags.DEFINE_string(
    "license", "", "Licence of the model, by its id on the hub, such as cc-by-4.0.",
    flag_values=_FLAGS,
)  # fmt: skip
_DATA_LICENSE = flags.DEFINE_string(
    "data_license", "", "Name, licence and address of the training data, for the model card.",
    flag_values=_FLAGS,
)  # fmt: skip

_LOG = logging.getLogger("prosona_jax.export")


def main() -> None:
    """Writes the folder, or nothing on an error."""
    written = export(
        _WORKDIR.value,
        _OUTPUT.value,
        license=_LICENSE.value,
        data_license=_DATA_LICENSE.value,
    )
    for path in sorted(written.iterdir()):
        _LOG.info("%s: %d bytes", path, path.stat().st_size)


if __name__ == "__main__":
    cli.launch(main, _FLAGS, manual=__doc__)
