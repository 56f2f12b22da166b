"""Fit what F1 to expect of the pretrained model on real images that it never learned from, and check it on others.

    python tests/benchmarks/expected_f1.py --data ../shared/data \
        --output workflow/monolayer/pretrained/phase_contrast/expected_f1.json

The study with fields kept together deals its images anew in the same way each time: of its val, which chose epoch and
thresholds, the guess is fitted, and checked on its test. Prints how well it holds on each, and on PhC-C2DL-PSC, a third
microscope of which val has nothing.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import yaml
from monolayer.coco.io import read_truth
from monolayer.coco.records import CELL, Annotation, Image, Truth, by_image
from monolayer.coco.rle import annotation, mask_from_rle, rle_from_mask
from monolayer.data.audit import audit
from monolayer.data.dataset import read_image, samples
from monolayer.data.download import download
from monolayer.data.split import split
from monolayer.files import write_json
from monolayer.params.data import AuditParams, Dataset, SplitParams
from monolayer.params.plates import PlateFinding
from monolayer.plates.expect import AS_IT_IS, check_of, fit, judge, with_guess
from monolayer.plates.expected import ExpectedCheck, finding_of
from monolayer.plates.segment import load_model
from PIL import Image as PillowImage
from pydantic import TypeAdapter

ROOT = Path(__file__).parents[2]
SIZE = (352, 352)  # px, of the middle that is taken: it takes a quarter of the time of whole images
PSC = (slice(112, 464), slice(184, 536))  # the middle; there is no truth near the edge


def dealt(data: Path, folder: Path) -> dict[str, Truth]:
    """The study's val and test, its images in folder/all."""
    study = yaml.safe_load((ROOT / "workflow/studies/phase_contrast_fields.yaml").read_text())
    rows = study["datasets"]["phase_contrast_fields"]
    for name in ("sartorius", "usiigaci"):
        rows["parts"][name] |= {"images": f"{data}/{name}/images", "annotations": f"{data}/{name}/annotations.json"}
    rows["parts"]["livecell"]["mirror"] = f"{data}/livecell_sample"
    default = yaml.safe_load((ROOT / "params.yaml").read_text())
    download(TypeAdapter(Dataset).validate_python(rows), folder / "all", folder / "all.json")
    audit(folder / "all", folder / "all.json", AuditParams(**default["audit"]), folder / "audit.json")
    split(
        folder / "all.json", folder / "audit.json", SplitParams(**default["split"] | study["split"]), folder / "dealt"
    )
    return {name: read_truth(folder / f"dealt/{name}.json") for name in ("val", "test")}


def cut(image: Image, cells: list[Annotation], place: tuple[slice, slice], number: int) -> list[Annotation]:
    """The cells within a part of the image."""
    found = list[Annotation]()
    for cell in cells:
        mask = np.ascontiguousarray(mask_from_rle(cell["segmentation"])[place])
        if mask.any():
            found.append(annotation(number + len(found), image["id"], rle_from_mask(mask)))
    return found


def middle(height: int, width: int) -> tuple[slice, slice]:
    """The middle of an image."""
    top, left = (max(0, (length - most) // 2) for length, most in zip((height, width), SIZE, strict=True))
    return slice(top, min(height, top + SIZE[0])), slice(left, min(width, left + SIZE[1]))


def write_middles(truth: Truth, part: str, folder: Path) -> None:
    """The middle of each image, and their truth as {part}.json."""
    cells = by_image(truth["annotations"])
    listed, annotations = list[Image](), list[Annotation]()
    for image in truth["images"]:
        pixels = read_image(folder / "all" / image["file_name"])
        place = middle(*pixels.shape)
        name = f"{image['id']}.png"
        PillowImage.fromarray(pixels[place]).save(folder / "images" / name)
        height, width = pixels[place].shape
        about = {"file_name": name, "height": height, "width": width, "well": image["content"]}
        listed.append(Image(**image | about))  # type: ignore[typeddict-item]
        annotations += cut(image, cells[image["id"]], place, 1 + len(annotations))
    write_json(folder / f"{part}.json", Truth(images=listed, annotations=annotations, categories=[CELL]))


def third_microscope(data: Path, output: Path) -> None:
    """Every fifth frame of PhC-C2DL-PSC, where it has truth."""
    import json

    given = json.loads((data / "psc/annotations.json").read_text())
    cells, listed, annotations = by_image(given["annotations"]), list[Image](), list[Annotation]()
    for image in given["images"][::5]:
        pixels = np.asarray(PillowImage.open(data / "psc/images" / image["file_name"]).convert("L"))[PSC]
        name = Path(image["file_name"]).with_suffix(".png").name
        PillowImage.fromarray(pixels).save(output / "images" / name)
        about = {"file_name": name, "height": pixels.shape[0], "width": pixels.shape[1], "cell_line": "psc"}
        listed.append(Image(id=image["id"], well="psc", timestamp=None, split="test", **about))  # type: ignore[typeddict-item]
        annotations += cut(listed[-1], cells[image["id"]], PSC, 1 + len(annotations))
    write_json(output / "psc.json", Truth(images=listed, annotations=annotations, categories=[CELL]))


def row(name: str, check: ExpectedCheck) -> str:
    rank = "–" if check.spearman is None else f"{check.spearman:.2f}"
    numbers = f"{check.mean_error:.2f} | {check.bias:+.2f} | {100 * check.covered:.0f} %"
    return f"| {name} | {check.images} | {rank} | {numbers} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, required=True, help="folder with sartorius, livecell_sample, usiigaci, psc"
    )
    parser.add_argument("--output", type=Path, required=True, help="expected_f1.json to write")
    args = parser.parse_args()
    settings = yaml.safe_load((ROOT / "params.yaml").read_text())["plate_settings"]
    finding = PlateFinding(**{name: settings[name] for name in PlateFinding.model_fields})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "images").mkdir()
        for part, truth in dealt(args.data, folder).items():
            write_middles(truth, part, folder)
        third_microscope(args.data, folder)
        model = load_model(finding, 1)
        val, test, third = (
            list(judge(model, samples(read_truth(folder / f"{name}.json"), folder / "images"), name))
            for name in ("val", "test", "psc")
        )
    fitted = fit(val, test, model.sums, finding_of(finding))
    write_json(args.output, fitted.model_dump(), indent=1)
    print("| images | of them | Spearman's ρ | mean error | bias | inside the 90 % interval |")
    print("|---" * 6 + "|")
    for name, check in fitted.checks.items():
        print(row(name, check))
    plain = [one for one in test if one.how == AS_IT_IS]
    alike = [one for one in plain if not one.group.startswith("T98G")]
    print(row("test, as they are, without T98G", check_of(with_guess(fitted, alike), fitted)))
    foreign = [one for one in third if one.how == AS_IT_IS]
    if guessed := with_guess(fitted, foreign):
        print(row("a third microscope, as they are", check_of(guessed, fitted)))
    print(f"Of a third microscope, as they are, {len(guessed)} of {len(foreign)} images have a cell and a guess.")


if __name__ == "__main__":
    main()
