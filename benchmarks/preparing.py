"""Cases per second of `data_pipelines.prepare`: one process, all cores, and Apache Beam.

    python -m benchmarks.preparing

Each row is the whole command, start included, on one made folder of volumes. Beam has a row if it
is installed in this Python. The folders that the rows make are compared byte for byte.
"""

import importlib.util
import multiprocessing
import pathlib
import subprocess
import sys
import tempfile
import time

import nibabel
import numpy as np

from benchmarks.common import RATERS, hardware

CASES, SHAPE = 24, (256, 256, 64)  # columns, rows, slices


def make_folder(root: pathlib.Path) -> None:
    """Writes noise and discs as `images/{case}.nii.gz` and `masks/{case}/{rater}.nii.gz`."""
    rng = np.random.default_rng(0)
    affine = np.diag([0.7, 0.7, 2.5, 1.0])
    columns, rows, slices = np.ogrid[tuple(slice(-n // 2, n - n // 2) for n in SHAPE)]
    (root / "images").mkdir(parents=True)
    for case in range(CASES):
        image = rng.normal(-500, 200, SHAPE).astype(np.int16)
        nibabel.save(nibabel.Nifti1Image(image, affine), root / "images" / f"{case:03d}.nii.gz")
        folder = root / "masks" / f"{case:03d}"
        folder.mkdir(parents=True)
        for rater, radius in enumerate(rng.uniform(15, 25, RATERS)):
            ball = columns**2 + rows**2 + (3 * slices) ** 2 <= radius**2
            mask = nibabel.Nifti1Image(ball.astype(np.uint8), affine)
            nibabel.save(mask, folder / f"{rater}.nii.gz")


def seconds(data: pathlib.Path, cache: pathlib.Path, *flags: str) -> float:
    """Returns how long the command runs."""
    fields = {
        "source": "folder",
        "layout": "plain",
        "unit": "HU",
        "path": data,
        "cache_dir": cache,
        "size": 128,
        "spacing_mm": 0.7,
    }
    command = [sys.executable, "-m", "data_pipelines.prepare", "--config=configs/lidc.py"]
    command += [f"--config.data.{name}={value}" for name, value in fields.items()]
    start = time.perf_counter()
    subprocess.run([*command, *flags], check=True, capture_output=True)
    return time.perf_counter() - start


def content(cache: pathlib.Path) -> dict[str, bytes]:
    """Returns the files of a cache with their bytes."""
    files = (file for file in sorted(cache.rglob("*")) if file.is_file())
    return {str(file.relative_to(cache)): file.read_bytes() for file in files}


def main() -> None:
    """Prints the table."""
    cores = multiprocessing.cpu_count()
    beam = ["--runner=DirectRunner", "--", "--direct_running_mode=multi_processing"]
    rows = {"one process": ["--workers=1"], f"{cores} processes": [f"--workers={cores}"]}
    if importlib.util.find_spec("apache_beam"):
        rows[f"Beam's DirectRunner, {cores} workers"] = [*beam, f"--direct_num_workers={cores}"]
    print(hardware(), f"\n{CASES} volumes {'x'.join(map(str, SHAPE))}, {RATERS} raters, gzip\n")
    print("| | s | cases/s | of one process |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        make_folder(root / "data")
        made, first = [], 0.0
        for k, (name, flags) in enumerate(rows.items()):
            took = seconds(root / "data", root / f"cache{k}", *flags)
            first = first or took
            print(f"| {name} | {took:.1f} | {CASES / took:.2f} | {first / took:.2f} |", flush=True)
            made.append(content(root / f"cache{k}"))
    print("\nsame bytes:", all(each == made[0] for each in made))


if __name__ == "__main__":
    main()
