"""A package of bioimage.io gives the maps of our own pipeline, and its own library accepts and runs it."""

from __future__ import annotations

import io
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnxruntime
import pytest
import yaml
from monolayer import api
from monolayer.__main__ import main
from monolayer.backends.manifest import pretrained, read_manifest
from monolayer.data.images import scale
from monolayer.deployment.package import Signature, package
from monolayer.files import InputError
from monolayer.models.unet import family as unet
from monolayer.models.unet.family import UNet
from monolayer.params.steps import TrainParams
from monolayer.service.sample import sample
from PIL import Image
from scipy.ndimage import gaussian_filter
from unet_settings import SETTINGS

LIBRARY = ["bioimageio.core==0.11.0", "onnxruntime", "pydantic<2.12"]  # its bioimageio.spec 0.5.12 fails with 2.14


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pretrained model as a package, as the command line makes it."""
    folder = tmp_path_factory.mktemp("package")
    Image.fromarray(sample()).save(folder / "a.png")
    words = ["--image", str(folder / "a.png"), "--author", "A. Name", "--licence", "CC-BY-NC-4.0"]
    assert main(["package", *words, "--output", str(folder / "model.zip")]) == 0
    return folder / "model.zip"


def test_its_maps_become_our_cells(packed: Path) -> None:
    with zipfile.ZipFile(packed) as archive:
        model, about = archive.read("model.onnx"), yaml.safe_load(archive.read("rdf.yaml"))
        given, expected = (np.load(io.BytesIO(archive.read(f"test_{name}.npy"))) for name in ("input", "output"))
    assert given.shape == (1, 1, 320, 448)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    twice = np.concatenate([given, given[:, :, ::-1]])
    [maps] = session.run(None, {"image": twice})
    np.testing.assert_allclose(maps[0], expected[0], atol=1e-5)  # each image has its own background
    decode = about["config"]["monolayer"]["decode"]
    assert decode["score_min"] == api.load().score_threshold
    labels = api.decode(maps[0], **decode | {"score_min": 0.2})
    ours = api.load(tta=1).segment(sample(), score_min=0.2)
    assert len(ours) > 5
    assert np.array_equal(labels, ours.labels)


def test_scores_of_more_views_than_it_has_are_said_to_be(packed: Path) -> None:
    """The pretrained model was scored with test-time augmentation, which a graph from image to maps has not."""
    with zipfile.ZipFile(packed) as archive:
        validation = archive.read("README.md").decode().partition("## Validation")[2]
    assert "are of the mean over 2 turned copies of each image" in validation


def test_what_it_says_of_deep_images_is_what_we_do(packed: Path) -> None:
    """Faint noise of 16 bits is no cells by the README's step; by percentiles alone it would be."""
    with zipfile.ZipFile(packed) as archive:
        readme = archive.read("README.md").decode()
    step = next(block for block in readme.split("```") if "grey_levels(" in block).removeprefix("python")
    smooth = gaussian_filter(np.random.default_rng(0).standard_normal((256, 256)), 4)
    empty = (20000 + 100 * smooth / smooth.std()).astype(np.uint16)
    deep = (300 + 37 * sample().astype(np.uint16)).astype(np.uint16)
    model = api.load(tta=1, threads=1)
    for image in (empty, deep):
        given: dict[str, Any] = {"image": image}
        exec(step, given)
        assert np.array_equal(model.segment(given["levels"]).labels, model.segment(image).labels)
    assert len(model.segment(empty)) == 0
    low, high = np.percentile(empty, (0.5, 99.8))
    assert len(model.segment(scale(empty, low, high))) > 0


def test_the_same_model_gives_the_same_bytes(packed: Path, tmp_path: Path) -> None:
    signature = Signature(["A. Name"], "CC-BY-NC-4.0")
    package(pretrained(), packed.with_name("a.png"), signature, tmp_path / "model.zip")
    assert (tmp_path / "model.zip").read_bytes() == packed.read_bytes()


def test_what_can_not_be_packed(packed: Path, tmp_path: Path) -> None:
    signature = Signature(["A. Name"], "MIT")
    with pytest.raises(InputError, match="has no network HeLa; name one of all"):
        package(pretrained(), packed.with_name("a.png"), signature, tmp_path / "m.zip", network="HeLa")
    Image.fromarray(sample()[:4]).save(tmp_path / "flat.png")
    with pytest.raises(InputError, match="448x4 px; give an image of 16 px or more"):
        package(pretrained(), tmp_path / "flat.png", signature, tmp_path / "m.zip")
    shutil.copytree(pretrained(), tmp_path / "other")
    file = tmp_path / "other/model.json"
    text = file.read_text()
    file.write_text(text.replace('"stride": 16', '"stride": 16, "zoom": 1.5'))
    with pytest.raises(InputError, match=r"enlarges images by 1\.5 before its network"):
        package(tmp_path / "other", packed.with_name("a.png"), signature, tmp_path / "m.zip")
    file.write_text(text)
    file.write_text(file.read_text().replace('"fp32",', "").replace('"self_trained"', '"x"'))
    with pytest.raises(InputError, match="has no fp32 graphs"):
        package(tmp_path / "other", packed.with_name("a.png"), signature, tmp_path / "m.zip")
    assert read_manifest(tmp_path / "other")[1].run == "x"
    shutil.copytree(pretrained(), tmp_path / "zoomed")
    file = tmp_path / "zoomed/model.json"
    file.write_text(file.read_text().replace('"constants": {', '"constants": {"zoom": 0.5,'))
    with pytest.raises(InputError, match=r"enlarges images by 0\.5"):
        package(tmp_path / "zoomed", packed.with_name("a.png"), signature, tmp_path / "m.zip")
    assert not (tmp_path / "m.zip").exists()
    with pytest.raises(InputError, match=r"maps are float64 \(3, 4\); give floats \(1 or 2, height, width\)"):
        api.decode(np.zeros((3, 4)), foreground=0.5, marker=0.4, area=5, saddle_ratio=0.5, score_min=0)


def test_torchscript_gives_the_same_maps_at_any_size(packed: Path, tmp_path: Path) -> None:
    """Of a small network's export and weights; those of another run are refused."""
    import onnx
    import torch
    from monolayer import models
    from monolayer.deployment.onnx_graph import export_graph

    networks: list[torch.nn.Module] = []
    for seed, name in enumerate(("own", "other")):
        torch.manual_seed(seed)
        networks.append(UNet(SETTINGS.width, SETTINGS.levels, 2).eval())
        params = TrainParams(family="unet", settings=SETTINGS, lines="all", seed=0, cpu_threads=1)
        models.save_weights(tmp_path / f"{name}.pt", params, {"all": networks[-1].state_dict()})
    shutil.copytree(pretrained(), tmp_path / "export")
    [file] = (tmp_path / "export/networks").glob("*.fp32.onnx")
    onnx.save(export_graph(unet.graphs(cast(UNet, networks[0]))["maps"]), file)
    image, signature = packed.with_name("a.png"), Signature(["A. Name"], "MIT")
    with pytest.raises(InputError, match="gives other maps than the export"):
        package(tmp_path / "export", image, signature, tmp_path / "m.zip", weights=tmp_path / "other.pt")
    package(tmp_path / "export", image, signature, tmp_path / "m.zip", weights=tmp_path / "own.pt")
    with zipfile.ZipFile(tmp_path / "m.zip") as archive:
        script = torch.jit.load(io.BytesIO(archive.read("model.pt")))  # type: ignore[no-untyped-call]
        session = onnxruntime.InferenceSession(archive.read("model.onnx"), providers=["CPUExecutionProvider"])
        about = yaml.safe_load(archive.read("rdf.yaml"))
    assert about["weights"]["torchscript"]["source"] == "model.pt"
    for size in ((2, 1, 64, 96), (1, 1, 40, 24)):
        given = np.random.default_rng(0).integers(0, 256, size).astype(np.float32)
        [expected] = session.run(None, {"image": given})
        np.testing.assert_allclose(script(torch.from_numpy(given)).numpy(), expected, atol=1e-4)


CHECK = """
import sys
from bioimageio.core import load_model, test_model
summary = test_model(sys.argv[1])
print(summary.format())
assert summary.status == "passed", summary.status
model = load_model(sys.argv[1])
assert [str(axis.id) for axis in model.outputs[0].axes] == ["batch", "channel", "y", "x"]
assert model.outputs[0].axes[2].halo == 32
"""


@pytest.mark.slow
def test_bioimageio_validates_and_runs_it(packed: Path) -> None:
    """In an environment of its own, which has nothing of ours."""
    words = ["uv", "run", "--no-project", "--python", "3.11", *(f"--with={one}" for one in LIBRARY)]
    done = subprocess.run(
        [*words, "python", "-c", CHECK, str(packed)], cwd=packed.parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
