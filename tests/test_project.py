"""Facts in the repository's files agree with each other, and configs are locked."""

import pathlib
import re
import runpy
import subprocess
import sys
import types

import pytest

import prosona_jax
from configs import base, cells, folder, lidc, prostate

ROOT = pathlib.Path(__file__).resolve().parent.parent
VARIANTS = ["crops64", "demo", "full", "smoke"]
PAGES = [str(p.relative_to(ROOT)) for p in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"))]


@pytest.fixture
def packaging(monkeypatch):
    """Returns the arguments that setup.py gives to setuptools, without running it."""
    given = {}
    stub = types.SimpleNamespace(setup=given.update, find_packages=lambda include: include)
    monkeypatch.setitem(sys.modules, "setuptools", stub)
    runpy.run_path(str(ROOT / "setup.py"))
    return given


def test_one_version(packaging):
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert packaging["version"] == prosona_jax.__version__
    assert re.search(r"^version: (\S+)$", citation, re.MULTILINE)[1] == prosona_jax.__version__
    assert re.search(r"^## (\d\S+)", changelog, re.MULTILINE)[1] == prosona_jax.__version__


def test_extras_come_from_the_one_list(packaging):
    extras = packaging["extras_require"]
    assert set(extras) == {"dicom", "nifti", "nrrd", "hdf5", "test", "docs", "beam", "cuda", "tpu"}
    assert [line.split(">=")[0] for line in extras["dicom"]] == ["pydicom", "highdicom"]
    assert "jax" in [line.split(">=")[0] for line in packaging["install_requires"]]


@pytest.mark.parametrize(
    "file", ["requirements.txt", "requirements-nodeps.txt", "requirements-beam.txt"]
)
def test_every_requirement_is_listed_once_with_a_reason(file):
    lines = [
        line
        for line in (ROOT / file).read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    ]
    names = [re.match(r"[\w-]+(?=[>=]=)", line)[0].lower() for line in lines]
    assert len(set(names)) == len(names)
    assert [line for line in lines if not re.search(r" # \w.*\w", line)] == []


def test_no_unfinished_work_and_no_path_of_one_machine():
    git = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(git, cwd=ROOT, capture_output=True, text=True)
    if listing.returncode:
        pytest.skip("not a git checkout: the project's own files cannot be told from others")
    unwanted = re.compile(
        r"\b(TO[D]O|FIX[M]E|XX[X])\b"
        r"|(?<![\w.~>*])/(home|root|Users|work|mnt|opt)/|\.\./[s]hared"
    )
    found = []
    for name in filter(None, listing.stdout.split("\0")):
        try:
            text = (ROOT / name).read_text(encoding="utf-8")
        except (UnicodeDecodeError, FileNotFoundError):
            continue  # an image or an array, or a deleted file that is not committed yet
        found += [f"{name}: {match[0]}" for match in unwanted.finditer(text)]
    assert found == []


@pytest.mark.parametrize("page", PAGES)
def test_the_links_of_a_page_exist(page):
    path = ROOT / page
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text(encoding="utf-8"))
    local = [link for link in links if "://" not in link]
    assert [link for link in local if not (path.parent / link).exists()] == []


@pytest.mark.parametrize(
    ("of", "variant"),
    [(lidc, variant) for variant in VARIANTS] + [(prostate, "full"), (prostate, "smoke")],
)
def test_a_config_is_locked_and_adds_no_field(of, variant):
    config = of.get_config(variant)
    assert config.is_locked
    assert config.data.is_locked
    assert fields(config) == fields(base.get_config())


@pytest.mark.parametrize("module", [cells, folder])
def test_a_config_of_one_data_set_adds_no_field(module):
    config = module.get_config()
    assert config.is_locked
    assert fields(config) == fields(base.get_config())


@pytest.mark.parametrize("name", ["stpes", "data.pth", "loss.betta"])
def test_a_misspelt_field_is_an_error(name):
    with pytest.raises((AttributeError, KeyError), match="does not exist"):
        lidc.get_config("smoke").update_from_flattened_dict({name: 1})


def test_an_unknown_variant_names_the_known_ones():
    with pytest.raises(ValueError, match=re.escape(f"choose from {VARIANTS}")):
        lidc.get_config("huge")


def test_prostate_data_may_come_from_a_folder():
    config = prostate.get_config()
    config.data.update({"source": "folder", "path": "prostate158"})
    assert config.data.crop == "organ"
    with pytest.raises(ValueError, match=re.escape("choose from ['full', 'smoke']")):
        prostate.get_config("demo")


def fields(config) -> set[str]:
    """Returns the dotted names of all fields."""
    nested = (
        {f"{name}.{inner}" for inner in fields(value)} if hasattr(value, "items") else {name}
        for name, value in config.items()
    )
    return set().union(*nested)
