"""The notebooks as a user runs them: from top to bottom, with the model of the package."""

import json

import matplotlib
import nbclient
import nbformat
import numpy as np
import pytest

import prosona_jax as pj
from tests.notebooks import NAMES, code_of, committed

FIGURES = {  # ids of the cells that draw
    "latent_interpolation": [
        *("figure", "prompts", "slider", "raters", "prior", "plane", "effects", "dimensions", "map")
    ],
    "quickstart": ["figure", "sentence", "more", "scan"],
}
SPY = """
import IPython.core.pylabtools, matplotlib.text

TOLD, print_figure = [], IPython.core.pylabtools.print_figure

def spied(figure, *arguments, **options):
    texts = figure.findobj(matplotlib.text.Text)
    TOLD.append([figure.axes[0].get_title(), " ".join(text.get_text() for text in texts)])
    return print_figure(figure, *arguments, **options)

IPython.core.pylabtools.print_figure = spied
"""  # of the figures that are displayed: a report's and those of `pj.save` are not
MOVED = """
share.value = 0.25
share.value = 1.0
numbers["z0"].value = 2.0
numbers["z1"].value = -1.0
"""
KEPT = {
    "latent_interpolation": """dict(
        told=TOLD, NUMBER=NUMBER, SENTENCES=SENTENCES, POINTS=POINTS, masks=masks.tolist(),
        prompt_stops=prompt_stops.tolist(), prompt_areas=prompt_areas.tolist(),
        rater_stops=rater_stops.tolist(), rater_areas=rater_areas.tolist(),
        prior_stops=prior_stops.tolist(), prior_areas=prior_areas.tolist(),
        style_stops=style_stops.tolist(), places=places.tolist(),
        map_areas=[each.area_mm2 for each in drawn],
    )""",
    "quickstart": """dict(
        told=TOLD, record_id=example.record_id, SENTENCE=SENTENCE,
        understood=mine.reading.understood,
        areas={each.prompt: each.area_mm2 for each in (tight, wide, mine, *styles)},
        strengths=strengths, strong=[each.area_mm2 for each in strong],
        volumes={each.prompt: each.volume_ml for each in through},
    )""",
}


class Client(nbclient.NotebookClient):
    """Leaves in a cell what its slider draws.

    To answer a widget, nbclient writes to the socket whose replies it awaits. It then may miss one,
    and waits until the cell's time is over.
    """

    def handle_comm_msg(self, outs, msg, cell_index):
        pass


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("notebook")


def _run(name, folder, replaced):
    """Returns the executed notebook and what its variables hold."""
    kept = folder / f"{name}.json"
    executed = nbformat.from_dict(committed()[name])
    for written, other in replaced.items():
        (cell,) = (cell for cell in code_of(executed) if written in cell.source)
        cell.source = cell.source.replace(written, other)
    moved = MOVED if name == "latent_interpolation" else ""
    last = f"{moved}import json\npathlib.Path({str(kept)!r}).write_text(json.dumps({KEPT[name]}))"
    executed.cells.insert(0, nbformat.v4.new_code_cell(SPY))
    executed.cells.append(nbformat.v4.new_code_cell(last))
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PROSONA_MODEL", raising=False)
        patch.setenv("HOME", str(folder))  # of what IPython writes
        patch.setenv("JUPYTER_RUNTIME_DIR", str(folder))
        patch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=1")  # as a user has
        patch.setenv("MPLCONFIGDIR", matplotlib.get_cachedir())  # or it would look for fonts anew
        # In another folder than the repository's, as Jupyter starts kernels beside notebooks.
        Client(executed, timeout=300).execute(cwd=str(folder))
    executed.cells = executed.cells[1:-1]
    return executed, json.loads(kept.read_text())


@pytest.fixture(scope="module")
def walked(folder):
    """The executed walk, and what its variables hold."""
    return _run("latent_interpolation", folder, {})


@pytest.fixture(scope="module")
def started(folder):
    """The executed quickstart, and what its variables hold."""
    return _run(
        "quickstart",
        folder,
        {
            '"runs/quickstart"': repr(str(folder / "saved")),
            '"runs/quickstart_scan"': repr(str(folder / "saved_scan")),
        },
    )


@pytest.fixture(scope="module")
def model():
    return pj.load()


@pytest.fixture(scope="module")
def example(walked):
    return pj.examples()[walked[1]["NUMBER"]]


def _assert_same_areas(found, drawn, image):
    # Compiled in another way, so that a pixel on the brink may fall to the other side.
    areas = [each.area_mm2 for each in drawn]
    np.testing.assert_allclose(found, areas, atol=1.5 * np.prod(image.spacing_mm))


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_is_drawn_and_says_what_the_data_are(request, model, name):
    executed, kept = request.getfixturevalue({NAMES[0]: "walked", NAMES[1]: "started"}[name])
    drawn = [
        cell.id
        for cell in executed.cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    assert drawn == FIGURES[name]
    moved = 4 if name == "latent_interpolation" else 0
    assert len(kept["told"]) == len(drawn) + moved
    example = pj.examples()[0]
    assert example.citation.startswith("LIDC-IDRI")
    note = f"{model.sample(example.image, 1)[0].note} {example.citation}"
    for _, texts in kept["told"]:
        assert note in " ".join(texts.split())


def test_the_walk_between_prompts_stops_where_the_model_segments(walked, model, example):
    _, kept = walked
    areas, points = kept["prompt_areas"], kept["POINTS"]
    assert len(areas) == (len(kept["SENTENCES"]) - 1) * points + 1
    drawn = model.segment(example.image, kept["SENTENCES"])
    _assert_same_areas(areas[::points], drawn, example.image)
    assert np.ptp(kept["prompt_stops"], axis=0).max() > 0.01


def test_raters_and_styles_lie_where_the_model_places_them(walked, model, example):
    _, kept = walked
    masks = np.array(kept["masks"])
    areas = masks.sum(axis=(1, 2)).tolist()
    assert areas == sorted(example.masks.sum(axis=(1, 2)))
    close = {"rtol": 1e-3, "atol": 1e-3}
    found = model.latent(example.image, masks=masks)
    np.testing.assert_allclose(kept["rater_stops"], found, **close)
    styles = [model.latent(example.image, style=style.name)[0] for style in model.styles]
    np.testing.assert_allclose(kept["style_stops"], styles, **close)


def test_what_is_drawn_on_the_way_and_on_the_map_is_what_the_model_decodes(walked, model, example):
    _, kept = walked
    points = kept["POINTS"]
    for name in ("rater", "prior"):
        stops, areas = np.array(kept[f"{name}_stops"]), kept[f"{name}_areas"]
        drawn = model.decode(example.image, stops)
        _assert_same_areas(areas[::points], drawn, example.image)
        drawn = model.decode(example.image, (stops[1:] + stops[:-1]) / 2)
        _assert_same_areas(areas[points // 2 :: points], drawn, example.image)
    drawn = model.decode(example.image, np.array(kept["places"]))
    _assert_same_areas(kept["map_areas"], drawn, example.image)


def test_a_moved_slider_draws_anew(walked, model, example):
    _, kept = walked
    start, end = (np.array(kept["prompt_stops"])[place] for place in (0, -1))
    by_hand = np.zeros((2, len(start)))
    by_hand[:, 0], by_hand[1, 1] = 2.0, -1.0
    places = np.stack([0.75 * start + 0.25 * end, end, *by_hand])
    titles = [title for title, _ in kept["told"][-4:]]
    assert [title.rpartition(": ")[0] for title in titles] == [
        "25% of the way", "100% of the way", "", "",
    ]  # fmt: skip
    areas = [float(title.rpartition(": ")[2].removesuffix(" mm²")) for title in titles]
    _assert_same_areas(areas, model.decode(example.image, places), example.image)


def test_the_quickstart_shows_what_the_model_draws(started, model, folder):
    _, kept = started
    (image,) = (each.image for each in pj.examples() if each.record_id == kept["record_id"])
    sentences = [*list(kept["areas"])[:2], kept["SENTENCE"]]
    drawn = model.segment(image, sentences)
    _assert_same_areas([kept["areas"][each] for each in sentences], drawn, image)
    assert kept["understood"] == drawn[-1].reading.understood
    styles = [model.segment(image, style=style.name) for style in model.styles]
    _assert_same_areas([kept["areas"][style.name] for style in model.styles], styles, image)
    strong = [model.segment(image, style=model.styles[0].name, strength=s) for s in (0.0, 1.5)]
    _assert_same_areas([kept["strong"][0], kept["strong"][-1]], strong, image)
    saved = json.loads((folder / "saved" / "prediction.json").read_text())
    assert [each["prompt"] for each in saved["prompts"]] == sentences


def test_the_quickstart_draws_through_the_scan_of_the_package(started, model, folder):
    _, kept = started
    example = pj.example_scan()
    drawn = model.segment_scan(example.scan, example.point, list(kept["volumes"]))
    volumes = [each.volume_ml for each in drawn]
    np.testing.assert_allclose(list(kept["volumes"].values()), volumes, rtol=0.01)
    assert (folder / "saved_scan" / "overlay.png").is_file()
