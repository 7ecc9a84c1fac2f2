"""Both stages on the phantom of prostate MRI, from the config's own data to the report."""

import json

import pytest
import yaml

from configs import prostate
from data_pipelines import phantom
from data_pipelines.sources.phantom import CITATION
from prosona_jax.experiments import runs


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prostate")
    styles = [
        {
            "name": observer.name,
            "train": [f"Draw like {observer.name}.", f"As {observer.name} would do it."],
            "held_out": [f"In the manner of {observer.name}."],
        }
        for observer in phantom.OBSERVERS
    ]
    (folder / "prompts.yaml").write_text(yaml.safe_dump({"styles": styles}), encoding="utf-8")
    config = prostate.get_config("smoke")
    config.data.cache_dir = str(folder / "cache")
    config.prompts.path = str(folder / "prompts.yaml")
    config.stage_two.query = "text"  # a reader of habits takes half a minute to fit
    runs.train(config, folder / "run")
    return folder / "run"


def test_the_smoke_config_trains_from_end_to_end(trained):
    result = json.loads((trained / "report" / "report.json").read_text())
    assert (result["records"], result["patients"], result["raters"]) == (2, 2, 5)


def test_the_report_calls_the_data_a_phantom(trained):
    page = (trained / "report" / "report.md").read_text()
    assert page.startswith("# ProSona on phantom (simulated images)")
    assert "> **Caution:** Images simulated: " in page
    # The footnote of each figure.
    assert json.loads((trained / "report" / "report.json").read_text())["citation"] == CITATION
