"""The command line as a newcomer meets it: help, version, and wrong uses, each with one line that says what to do."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import plate_samples as made
import pytest
import tifffile
import yaml
from monolayer import cli
from monolayer.__main__ import main
from monolayer.cli.options import Parser
from monolayer.params.params import load
from monolayer.params.section import ParamsError
from paths import ROOT
from PIL import Image as PillowImage

SQUARE = [20, 20, 50, 20, 50, 50, 20, 50]
MEASURE = '{"pixel_size_um": {}, "frame_hours": {}, "neighbours": {"gap": 2, "radius": 50}, "files": []}'
LINKS = """{"max_move": 1.5, "sparse_move": 0.75, "gap_frames": 2, "gap_move": 1.5, "division_move": 1.2,
    "division_area": 1.7, "drift": 5}"""
AUDIT = '{"min_annotations": 1, "duplicate_iou": 0.9, "near_copy": null}'

COCO = """{"source": "coco", "images": "images", "annotations": "truth.json", "cell_line": "category", "well": null,
    "time": null, "percentiles": {"low": 0.5, "high": 99.8}, "channel": null, "z": null, "max_images": null}"""
TRACK = f'{LINKS[:-1]}, "division_tolerance": 1, "files": [], "extension": null}}'
YAML = yaml.safe_load((ROOT / "params.yaml").read_text())
EXTEND = json.dumps(
    {"name": "poster", "extension": YAML["extensions"]["poster"], "synthesis": YAML["synthesis"], "seed": 0}
)
PARAMS = {"measure": MEASURE, "audit": AUDIT, "mend": LINKS, "track": TRACK, "download": COCO, "extend": EXTEND}


def verbs() -> dict[str, Parser]:
    (choices,) = (action.choices for action in cli.parser()._actions if isinstance(action.choices, dict))
    return choices


def run(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit code and stderr of a command."""
    try:
        code = main(words)
    except SystemExit as end:  # of argparse
        code = int(end.code or 0)
    return code, capsys.readouterr().err


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with an image, one of another tool's COCO files, and files of the wrong kind."""
    monkeypatch.chdir(tmp_path)
    pixels = np.full((96, 96), 128, np.uint8)
    pixels[20:44, 20:44] = 170
    pixels[23:41, 23:41] = 60  # a cell in its bright rim
    for name in ("images", "cut", "pages", "text", "none"):
        (tmp_path / name).mkdir()
    PillowImage.fromarray(pixels).save("images/a.png")
    Path("cut/a.png").write_bytes(Path("images/a.png").read_bytes()[:90])
    Path("pages/a.tif").write_bytes(b"II*\0garbage")
    Path("text/a.png").write_text("no image")
    Path("bad.json").write_text("{ not json")
    Path("model.json").write_text('{"format": 2}')
    Path("empty.json").write_text("[]")
    image = {"id": 1, "file_name": "a.png", "width": 96, "height": 96}
    cell = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [SQUARE]}
    coco = {"images": [image], "annotations": [cell], "categories": [{"id": 1, "name": "cell"}]}
    Path("truth.json").write_text(json.dumps(coco))
    Path("maskless.json").write_text(json.dumps(coco | {"annotations": [{"id": 1, "image_id": 1}]}))
    return tmp_path


# ---- help --------------------------------------------------------------------------------------------


def test_help_names_every_verb_and_explains_every_option() -> None:
    whole = cli.parser().format_help()
    for name, verb in verbs().items():
        assert re.search(rf"^    {name}\b", whole, re.MULTILINE)
        assert verb.description
        assert all(action.help and action.help != "==SUPPRESS==" for action in verb._actions)


@pytest.mark.parametrize("name", ["predict", "evaluate", "measure", "track", "serve", "watch", "suggest"])
def test_examples_parse(name: str) -> None:
    epilog = verbs()[name].epilog or ""
    commands = re.findall(r"monolayer (.*)$", epilog.replace("\\\n", " "), re.MULTILINE)
    assert len(commands) >= 2
    for command in commands:
        words = re.findall(r"'[^']*'|\S+", command.replace('"$PARAMS"', "{}"))
        assert cli.parser().parse_args([word.strip("'") for word in words]).verb.prog == f"monolayer {name}"


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert re.fullmatch(r"monolayer \d+\.\d+\.\d+\n", capsys.readouterr().out)


@pytest.mark.parametrize(("command", "says"), [("", "a verb is missing"), ("predct", "did you mean predict?")])
def test_without_a_verb_that_exists_there_is_help(command: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, shown = run(command.split(), capsys)
    assert code == 2
    assert shown.startswith("usage: monolayer")
    assert says in shown.splitlines()[-1]


def test_help_imports_little() -> None:
    heavy = {"numpy", "pandas", "pydantic", "torch", "numba", "typing", "logging"}
    code = f"""import sys; sys.path.insert(0, {str(Path(cli.__file__).parents[2])!r})
import monolayer.__main__ as program; program.parser()
print(sorted({heavy} & set(sys.modules)))"""
    command = [sys.executable, "-S", "-c", code]  # without what site-packages import by themselves
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[]\n"


# ---- wrong uses --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "code", "says"),
    [
        ("predict --images none --output o.json", 1, "none holds no image"),
        ("predict --images text --output o.json", 1, "text/a.png is no PNG, JPEG or TIFF; save it as one"),
        ("predict --images cut --output o.json --labels labels --score-min 0", 1, "cut/a.png is not readable"),
        ("predict --images pages --output o.json", 1, "pages/a.tif is not readable as an image"),
        (
            "predict --images images --output images",
            2,
            "images is a folder; name a file that ends in .json",
        ),
        ("predict --images images --output images/a.png", 2, "images/a.png must end in .json or .json.gz"),
        (
            "predict --images images --output truth.json",
            2,
            "truth.json exists and holds no COCO results, so",
        ),
        ("predict --images images --output o.json --log images/a.png", 2, "images/a.png ends as an image does; name"),
        ("predict --images images/a.png --output o.json", 2, "images/a.png is a file; give the folder that it is in"),
        ("predict --images nowhere --output o.json", 2, "nowhere is not there; give the folder that the images are in"),
        (
            "predict --images images --output o.json --weights none",
            2,
            "none holds no model.json; give the folder",
        ),
        (
            "predict --images images --output o.json --score-min 50",
            2,
            "50 is no score; give a number from 0 to 1",
        ),
        ("predict --images images --output o.json --score-min nan", 2, "--score-min: nan is no score; give a number"),
        ("predict --images images --output o.json --labels l --pixel-size 650", 2, "650 is no pixel size in µm"),
        ("predict --images images --output o.json --labels l --pixel-size 0.00065", 2, "give µm along a pixel's side"),
        ("predict --images images --output truth.json/o.json", 1, "File exists: 'truth.json'; name a folder"),
        (
            "predict --images images --output o.json --weights none.pt",
            2,
            "none.pt is not there; give the weights.pt",
        ),
        ("predict --images images --output o.json --weights model.json", 1, "exported run (run is missing; family is"),
        ("predict --images images --output o.json --weights empty.json", 1, "empty.json is not the model.json of"),
        ("predict --images images --output o.json --shard 0/3", 2, "0/3 is no shard; write K/N"),
        ("predict --images images --output o.json --threads 0", 2, "--threads: 0 is no whole number from 1 up"),
        ("predict --images images --output o.json --truth truth.json", 2, "--truth and --params go together"),
        ("predict --images images", 2, "required: --output/--results"),
        ("watch --folder images --output o --settle-seconds nan", 2, "--settle-seconds: nan is no number from 0 up"),
        ("watch --folder images --output o --settle-seconds -1", 2, "--settle-seconds: -1 is no number from 0 up"),
        ("predict --images images --output o.json --treshold 1", 2, "unrecognized arguments: --treshold 1"),
        ("evaluate --truth images/a.png --results empty.json --output s.json --protocol coco", 1, "a.png is not JSON"),
        ("evaluate --truth truth.json --results empty.json --output images --protocol coco", 2, "images is a folder"),
        ("evaluate --truth truth.json --results empty.json --output s.json --seed -1", 2, "-1 is no whole number"),
        ("evaluate --truth truth.json --results empty.json --output empty.json --protocol coco", 2, "--results reads"),
        ("compare --metrics empty.json --output empty.json", 2, "empty.json must end in .csv"),
        (
            "mend --truth truth.json --results empty.json --score-min 0.5 --output empty.json",
            2,
            "--results reads",
        ),
        (
            "track --truth truth.json --cells images --output images",
            2,
            "would be written over, and --cells reads",
        ),
        ("extend --images images --truth truth.json --output .", 2, "images would be written over, and --images reads"),
        ("download --images images --annotations t.json", 2, "images would be written over, and --params reads"),
        ("measure --images images --truth truth.json --output m --score-min 70", 2, "70 is no score"),
        ("serve --model images", 2, "images holds no model.json; give the folder of an exported run"),
        ("suggest --images images --output s --model none", 2, "none holds no model.json"),
        ("compare --metrics bad.json --output m.csv", 1, "bad.json is not readable as scores"),
        ("measure --images images --truth truth.json --output truth.json", 1, "truth.json"),
        ("measure --images images --truth bad.json --output m", 1, "bad.json is not JSON"),
        (
            "measure --images images --truth empty.json --output m",
            1,
            "empty.json holds a list, not an object with images, annotations",
        ),
        ("measure --images images --truth maskless.json --output m", 1, "no annotation of maskless.json has a mask"),
        ("measure --images images --truth truth.json --output m --workers 0", 2, "0 is no whole number from 1 up"),
        ("audit --images images --annotations truth.json --output a.json", 1, "image 1: cell_line, well, timestamp"),
        ("serve --port 99999", 2, "--port: 99999 is no whole number from 0 to 65535"),
        ("serve --sample none.png", 2, "none.png is no file"),
        ("serve --keep truth.json", 1, "truth.json"),
        ("watch --folder images --output w --pattern ((", 2, "(( is no regular expression"),
        ("watch --folder images --output w --pixel-size-um -1", 2, "-1 is no pixel size in µm"),
        ("record --log images", 1, "Is a directory"),
    ],
)
def test_a_wrong_use_is_one_line(
    command: str, code: int, says: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = command.split()
    for verb, params in PARAMS.items():
        words += ["--params", params] if words[0] == verb else []
    before = sorted(here.rglob("*"))
    found, shown = run(words, capsys)
    assert found == code, shown
    *progress, line = shown.splitlines()
    assert all(re.fullmatch("reading empty.json|label images hold .*", shown) for shown in progress)
    assert line.startswith(f"monolayer {words[0]}: ")
    assert says in line
    assert [path for path in sorted(here.rglob("*")) if path not in before and path.is_file()] == []


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ("params.yaml", "Invalid JSON"),
        (AUDIT.replace("min_", "mim_"), "mim_annotations: unknown key, did you mean 'min_annotations'?"),
        (AUDIT.replace("0.9", "9"), "duplicate_iou is 9: Input should be less than or equal to 1"),
        ("{}", "min_annotations is missing; duplicate_iou is missing; near_copy is missing"),
    ],
)
def test_params_are_named_by_their_fault(
    params: str, says: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["audit", "--images", "images", "--annotations", "truth.json", "--output", "a.json", "--params", params]
    code, shown = run(words, capsys)
    assert code == 2
    (line,) = shown.splitlines()
    assert line.startswith("monolayer audit: argument --params: ")
    assert says in line


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_one_may_not_write_to(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "none").chmod(0o500)
    code, shown = run(["predict", "--images", "images", "--output", "none/o.json"], capsys)
    assert code == 1
    assert "give yourself the right and give the same command again" in shown


# ---- truth of another tool ---------------------------------------------------------------------------


def test_a_name_that_is_no_text_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As disks of other systems have them: tables in UTF-8 have no room for its bytes."""
    from monolayer.plates import plan

    folder, settings = tmp_path / "plate", made.reading()
    folder.mkdir()
    image = made.field(3, 0)
    tifffile.imwrite(folder / "a.tif", image)
    (folder / "a.tif").rename(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.tif"))
    given = ["--plate", f"{folder}", "--params", settings.model_dump_json(), "--output", f"{tmp_path / 'out'}"]
    assert main(["plan-plate", *given]) == 1
    said = capsys.readouterr().err
    assert "plan-plate: the name of a file is not UTF-8 (... " in said
    assert "caf\\udce9" in said
    assert "Traceback" not in said
    assert not (tmp_path / "out" / plan.ABOUT).exists()


def test_cells_of_another_tools_polygons_are_measured(here: Path) -> None:
    words = ["measure", "--images", "images", "--truth", "truth.json", "--output", "m", "--params", MEASURE]
    assert main(words) == 0
    assert (here / "m" / "images.csv").read_text().splitlines()[1].startswith('1,"a.png"')


# ---- Ctrl-C ------------------------------------------------------------------------------------------


def test_an_interrupt_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from monolayer.provenance import record

    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(record, "record", interrupted)
    assert run(["record"], capsys) == (130, "monolayer record: interrupted\n")


def test_an_interrupt_ends_all_processes_quietly(here: Path) -> None:
    """A terminal sends it to each of them."""
    coco = json.loads(Path("truth.json").read_text())
    images = [coco["images"][0] | {"id": number} for number in range(1, 3000)]
    Path("truth.json").write_text(json.dumps(coco | {"images": images}))
    words = ["measure", "--images", "images", "--truth", "truth.json", "--output", "m", "--workers", "2"]
    command = [sys.executable, "-m", "monolayer", *words, "--params", MEASURE]
    # tests that a shell runs in the background have the signal ignored, and so would what they start
    heeding = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL), "start_new_session": True}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, **heeding) as process:  # type: ignore[call-overload]
        wait_until(lambda: Path("m/images.csv").exists() or any(Path("m").glob(".images*")))
        time.sleep(1)
        os.killpg(process.pid, signal.SIGINT)
        _, shown = process.communicate(timeout=120)
    assert process.returncode == 130
    assert shown.splitlines()[-1] == "monolayer measure: interrupted"
    assert "Traceback" not in shown


def wait_until(there: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not there():
        assert time.monotonic() < end
        time.sleep(0.1)


# ---- what is there stays -----------------------------------------------------------------------------


def test_nothing_of_the_users_is_written_over(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By any verb that was given an image, truth or table as its output."""
    kept = {path: path.read_bytes() for path in here.rglob("*") if path.is_file()}
    for command in (
        "predict --images images --output images/a.png",
        "predict --images images --output truth.json",
        "predict --images images --output o.json --log images/a.png",
        "evaluate --truth truth.json --results empty.json --output truth.json --protocol coco",
        "extend --images images --truth truth.json --output .",
        "download --images images --annotations t.json",
        "download --images normal --annotations truth.json",
    ):
        words = command.split()
        given = ["--params", PARAMS[words[0]]] if words[0] in PARAMS else []
        assert run(words + given, capsys)[0] == 2, command
    assert {path: path.read_bytes() for path in here.rglob("*") if path.is_file()} == kept


def test_results_may_be_written_anew(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        assert run(["predict", "--images", "images", "--output", "o.json"], capsys)[0] == 0
    assert json.loads(Path("o.json").read_text())[0]["file_name"] == "a.png"


def test_pixel_sizes_of_the_workflow_are_in_micrometres() -> None:
    for section, key in (("measure", "pixel_size_um.all"), ("plate_settings", "pixel_size_um")):
        given = YAML | {section: YAML[section] | {"pixel_size_um": {"all": 650} if section == "measure" else 650}}
        with pytest.raises(ParamsError, match=rf"{key}.* 650 is no pixel size in µm, which is from 0.01 to 100"):
            load(given)
