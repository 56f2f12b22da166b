"""One command makes a plate's tables and page, of whatever kind it is; other programs open what it leaves."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import plate_samples as made
import pytest
import yaml
from monolayer.plates.labels import STORE
from paths import DATA, ROOT, needs_data
from PIL import Image as PillowImage

CONDITIONS = "well,dose\nA1,0\nB1,10\n"


def lay_out(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    for name in ("Snakefile", "profiles", "workflow", "envs", "params.yaml"):
        (folder / name).symlink_to(ROOT / name)
    return folder


def snakemake(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *words]
    env = os.environ | {"PYTHONPATH": str(ROOT / "workflow")}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=env)


@pytest.mark.workflow
def test_one_command_makes_the_reports_of_plates(tmp_path: Path) -> None:
    """Of a folder, an OME-TIFF and an OME-Zarr, in shards of three; a plate map is no reason to segment again."""
    folder = lay_out(tmp_path / "checkout")
    rows: dict[str, dict[str, object]] = {
        "incucyte": {"path": str(made.incucyte(tmp_path / "VID7", wells=2, fields=1, times=3))},
        "tiff": {"path": str(made.two_channels(tmp_path / "x.ome.tif", 2)), "channel": "Phase"},
        "zarr": {"path": str(made.hcs_plate(tmp_path / "p.ome.zarr", "0.5", ("A/1",), 2)), "channel": 2},
    }
    (folder / "plates.yaml").write_text(yaml.safe_dump({"plates": rows, "images_per_shard": 3}))
    done = snakemake(folder, "--configfile", "plates.yaml")
    assert done.returncode == 0, done.stderr[-4000:]
    results = folder / "results/plates"
    for name, shards in {"incucyte": 2, "tiff": 1, "zarr": 1}.items():
        assert "<html" in (results / name / "report.html").read_text()[:200]
        assert len(list((results / name / "parts").glob("*.part"))) == shards
    assert [path.name for path in (folder / "results").iterdir()] == ["plates"], "nothing else is made"
    again = snakemake(folder, "--configfile", "plates.yaml", "--dry-run")
    assert "Nothing to be done" in again.stdout + again.stderr
    (tmp_path / "map.csv").write_text(CONDITIONS)
    rows["incucyte"]["conditions"] = str(tmp_path / "map.csv")
    (folder / "plates.yaml").write_text(yaml.safe_dump({"plates": rows, "images_per_shard": 3}))
    mapped = snakemake(folder, "--configfile", "plates.yaml", "--dry-run")
    jobs = dict(re.findall(r"^(\w+) +(\d+)$", mapped.stdout, re.MULTILINE))
    assert jobs == {"tabulate": "1", "plate_report": "1", "all": "1", "total": "3"}


@pytest.mark.workflow
def test_a_broken_image_is_named_and_the_same_command_finishes(tmp_path: Path) -> None:
    folder = lay_out(tmp_path / "checkout")
    plate = made.incucyte(tmp_path / "VID7", wells=1, fields=1, times=4)
    [bad] = plate.glob("*_A1_1_00d12h00m.tif")
    whole = bad.read_bytes()
    bad.write_bytes(whole[:200])
    config = ("--config", f"plate={plate}", "images_per_shard=2", "--keep-going")
    done = snakemake(folder, *config)
    assert done.returncode != 0
    assert "well A1, field 1, frame 1 (VID7_A1_1_00d12h00m.tif)" in done.stdout + done.stderr
    parts = folder / "results/plates/VID7/parts"
    assert (parts / "3-4.part").exists(), "the rest of the plate goes on"
    bad.write_bytes(whole)
    done = snakemake(folder, *config)
    assert done.returncode == 0, done.stderr[-4000:]


@pytest.mark.workflow
def test_a_plate_that_changes_below_its_folder_is_made_again(tmp_path: Path) -> None:
    """A file that is written over and a frame in a folder within leave the plate's own folder as it was."""
    import tifffile
    from test_plates import table

    folder = lay_out(tmp_path / "checkout")
    plate = made.incucyte(tmp_path / "VID7", wells=1, fields=1, times=2)
    (plate / "day1").mkdir()
    config = ("--config", f"plate={plate}")
    images = folder / "results/plates/VID7/images.parquet"

    def cells() -> list[int]:
        done = snakemake(folder, *config)
        assert done.returncode == 0, done.stderr[-4000:]
        found: list[int] = table(images)["cells"].tolist()
        return found

    before = cells()
    with (plate / "VID7_A1_1_00d12h00m.tif").open("r+b") as file:
        tifffile.imwrite(file, made.field(9, 3))
    assert cells() == [before[0], 9]
    tifffile.imwrite(plate / "day1/VID7_A1_1_01d00h00m.tif", made.field(12, 4))
    assert cells() == [before[0], 9, 12]
    again = snakemake(folder, *config, "--dry-run")
    assert "Nothing to be done" in again.stdout + again.stderr


READERS = """
import sys
from napari_ome_zarr import napari_get_reader
from ome_zarr.io import parse_url
from ome_zarr.reader import Reader
for place, shape in (("", sys.argv[2]), ("/A/1/0", sys.argv[3])):
    nodes = list(Reader(parse_url(sys.argv[1] + place))())
    assert str(nodes[0].data[0].shape) == shape, (place, nodes[0].data[0].shape)
    layers = napari_get_reader(sys.argv[1] + place)(sys.argv[1] + place)
    kinds = {layer[2]: layer[0][0] for layer in layers}
    assert str(kinds["labels"].shape) == shape, (place, kinds)
    print(f"cells {place}", int(kinds["labels"][-1].max().compute()))
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_ome_zarr_py_and_napari_open_the_labels(tmp_path: Path) -> None:
    """In an environment of their own, headless: plate, image and labels, with the cells that the tables count."""
    from test_plates import run, table

    if shutil.which("uv") is None:
        pytest.skip("uv is not on the PATH")
    results = run(made.incucyte(tmp_path / "VID7", wells=1, fields=1, times=2), tmp_path / "out")
    shape = f"(2, {made.HEIGHT}, {made.WIDTH})"
    command = ["uv", "run", "-q", "--no-project", "--isolated", "--python", sys.executable]
    command += ["--with", "ome-zarr", "--with", "napari-ome-zarr", "python", "-c", READERS]
    command += [str(results / STORE), shape, shape]
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"QT_QPA_PLATFORM": "offscreen"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, done.stderr[-3000:]
    cells = table(results / "images.parquet")["cells"].tolist()[-1]
    told = [line for line in done.stdout.splitlines() if line.startswith("cells ")]
    assert told == [f"cells  {cells}", f"cells /A/1/0 {cells}"]


@pytest.mark.workflow
def test_a_plate_of_the_same_name_does_not_replace_the_first(tmp_path: Path) -> None:
    folder = lay_out(tmp_path / "checkout")
    first, second = (made.incucyte(tmp_path / name / "scans", wells=1, fields=1, times=1) for name in ("a", "b"))
    planned = "results/plates/scans/plan.json"
    assert snakemake(folder, "--config", f"plate={first}", "--", planned).returncode == 0
    before = (folder / planned).read_bytes()
    missing = snakemake(folder, "-n", "--config", f"plate={tmp_path / 'c'}")
    assert f"plate {tmp_path / 'c'} is not there; give the path" in missing.stdout + missing.stderr
    refused = snakemake(folder, "--config", f"plate={second}", "--", planned)
    assert refused.returncode != 0
    assert f"results/plates/scans holds the results of {first}, which those of {second} would replace" in (
        refused.stdout + refused.stderr
    )
    assert (folder / planned).read_bytes() == before
    (folder / "results/plates/scans").rename(folder / "results/plates/first")
    assert snakemake(folder, "--config", f"plate={second}", "--", planned).returncode == 0


@needs_data("unlabelled")
@pytest.mark.slow
@pytest.mark.workflow
@pytest.mark.timeout(7200)
def test_two_hundred_real_frames_become_a_report(tmp_path: Path) -> None:
    """Real frames under an Incucyte's names: 10 wells of 20 times."""
    plate = tmp_path / "VID200"
    plate.mkdir()
    files = sorted(path for path in (DATA / "unlabelled").rglob("*") if path.suffix in (".tif", ".png"))
    for number in range(200):
        well, time = divmod(number, 20)
        pixels = np.asarray(PillowImage.open(files[number % len(files)]).convert("L"))
        name = f"VID200_{'ABCDE'[well // 2]}{1 + well % 2}_1_{time * 4 // 24:02d}d{time * 4 % 24:02d}h00m.tif"
        PillowImage.fromarray(pixels).save(plate / name)
    done = snakemake(lay_out(tmp_path / "checkout"), "--config", f"plate={plate}")
    assert done.returncode == 0, done.stderr[-4000:]
    assert (tmp_path / "checkout/results/plates/VID200/report.html").exists()
