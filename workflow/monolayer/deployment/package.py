"""An exported U-Net as a model of bioimage.io (rdf 0.5): image in, maps out, for every program that runs such models.

What `standardise` does stands in the graph, for the format's own pre-processing knows no median. What makes cells of
the maps does not: the format knows no such step, so that README.md tells it and rdf.yaml has its numbers.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import onnx
import yaml
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from monolayer.backends.manifest import Manifest, onnx_name, read_manifest
from monolayer.data.images import MIDDLE, THROUGH, eight_bit
from monolayer.data.reading import read_frame
from monolayer.files import InputError, write_bytes
from monolayer.models.unet.pipeline import Pipeline
from monolayer.params.families import UnetPredict

FORMAT = "0.5.4"
SIDE = 512  # px at most, of the test image and the cover
MAPS = {
    "foreground": "Probability of a cell",
    "distance": "distance to its edge, over the cell's largest (of a network whose `target` is separated: foreground)",
}
OUTLINE = (255, 157, 28)


class Signature(NamedTuple):
    """Who made the model and under which licence (an SPDX id) it is."""

    authors: Sequence[str]
    licence: str


def package(
    exported: Path,
    image: Path,
    signature: Signature,
    output: Path,
    *,
    network: str = "all",
    weights: Path | None = None,
) -> None:
    """Write the package, a zip; `image` is one that the model knows, of which the test's tensors and cover are made.

    With `weights`, the run's weights.pt, TorchScript is in it too, for programs that run no ONNX.
    """
    folder, manifest = read_manifest(exported)
    of = _unet(manifest, network, exported)
    model = onnx.load(folder / onnx_name(network, "maps", "fp32"))
    _prepend_standardise(model, of.contrast)
    content = model.SerializeToString(deterministic=True)
    seen = _shown(image, manifest, of.stride)
    given = seen[None, None].astype(np.float32)
    maps = _run(content, given)
    files: dict[str, bytes] = {
        "model.onnx": content,
        "test_input.npy": _npy(given),
        "test_output.npy": _npy(maps),
        "cover.png": _cover(seen, of.postprocess(maps[0], *seen.shape).label_image()),
        "README.md": _readme(manifest, of, folder).encode(),
    }
    about = _rdf(manifest, of, signature, files)
    if weights is not None:
        from monolayer.deployment import torchscript  # torch: seconds, and not everywhere

        files["model.pt"] = torchscript.scripted(weights, network, of.contrast, (given, maps))
        source = {"source": "model.pt", "sha256": hashlib.sha256(files["model.pt"]).hexdigest()}
        about["weights"]["torchscript"] = source | {"pytorch_version": version("torch").partition("+")[0]}
    about["config"] = {"monolayer": {"run": manifest.run, "network": network, "decode": _decoder(manifest, of)}}
    files["rdf.yaml"] = yaml.safe_dump(about, sort_keys=False, allow_unicode=True, width=100).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():  # a fixed date: the same model gives the same bytes
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data, zipfile.ZIP_DEFLATED)
    write_bytes(output, buffer.getvalue())


def _unet(manifest: Manifest, network: str, exported: Path) -> Pipeline:
    if manifest.family != "unet":
        raise InputError(
            f"{exported} is of family {manifest.family}; a package holds one graph from image to maps, which U-Nets are"
        )
    if network not in manifest.networks:
        raise InputError(f"{exported} has no network {network}; name one of {', '.join(manifest.networks)}")
    if "fp32" not in manifest.dtypes:
        raise InputError(f"{exported} has no fp32 graphs, which a package is made of; export the run in fp32 too")
    constants = manifest.networks[network].constants
    if (zoom := constants.get("zoom", 1.0)) != 1:
        raise InputError(
            f"{exported} enlarges images by {zoom:g} before its network, which the format has no step for; "
            "train without `diameter`"
        )
    return Pipeline.of(cast(UnetPredict, manifest.settings), constants)


def _prepend_standardise(model: Any, contrast: float) -> None:
    """Let the graph begin with grey levels: less their median, by the training images' contrast."""
    graph = model.graph
    [tiles] = graph.input
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, None)
    image.CopyFrom(tiles)
    image.name = "image"
    constants: dict[str, NDArray[Any]] = {
        "rows_of_pixels": np.array([0, -1], np.int64),
        "one": np.array([1], np.int64),
        "two": np.array([2], np.int64),
        "of_each_image": np.array([-1, 1, 1, 1], np.int64),
        "contrast": np.array(contrast, np.float32),
    }
    graph.initializer.extend(numpy_helper.from_array(value, f"grey_{name}") for name, value in constants.items())
    nodes = [
        helper.make_node("Reshape", ["image", "grey_rows_of_pixels"], ["grey_flat"]),
        helper.make_node("Shape", ["grey_flat"], ["grey_count"], start=1),
        helper.make_node("Add", ["grey_count", "grey_one"], ["grey_above"]),
        helper.make_node("Div", ["grey_above", "grey_two"], ["grey_half"]),
        helper.make_node("TopK", ["grey_flat", "grey_half"], ["grey_darker", "grey_places"], largest=0, sorted=0),
        helper.make_node("ReduceMax", ["grey_darker", "grey_one"], ["grey_median"]),
        helper.make_node("Reshape", ["grey_median", "grey_of_each_image"], ["grey_background"]),
        helper.make_node("Sub", ["image", "grey_background"], ["grey_less"]),
        helper.make_node("Div", ["grey_less", "grey_contrast"], [tiles.name]),
    ]
    rest = list(graph.node)
    del graph.node[:], graph.input[:]
    graph.node.extend([*nodes, *rest])
    graph.input.append(image)
    onnx.checker.check_model(model)


def _shown(path: Path, manifest: Manifest, stride: int) -> NDArray[np.uint8]:
    """The middle of an image as the network sees it, sides multiples of its stride."""
    image = eight_bit(read_frame(path.read_bytes(), str(path)), str(path), manifest.percentiles)
    sides = [min(length, SIDE) // stride * stride for length in image.shape]
    if not all(sides):
        raise InputError(f"{path} is {image.shape[1]}x{image.shape[0]} px; give an image of {stride} px or more")
    top, left = ((length - side) // 2 for length, side in zip(image.shape, sides, strict=True))
    return np.ascontiguousarray(image[top : top + sides[0], left : left + sides[1]])


def _run(content: bytes, given: NDArray[np.float32]) -> NDArray[np.float32]:
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    [maps] = session.run(None, {"image": given})
    return np.asarray(maps)


def _npy(values: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()


def _cover(image: NDArray[np.uint8], labels: NDArray[np.int32]) -> bytes:
    """The image, square, with the outlines of its cells."""
    from skimage.segmentation import find_boundaries

    side = min(image.shape)
    colours = np.repeat(image[:, :, None], 3, axis=2)
    colours[find_boundaries(labels, mode="inner")] = OUTLINE  # type: ignore[no-untyped-call]
    buffer = io.BytesIO()
    Image.fromarray(colours[:side, :side]).save(buffer, "png")
    return buffer.getvalue()


def _decoder(manifest: Manifest, of: Pipeline) -> dict[str, float]:
    """The arguments of `monolayer.api.decode`."""
    threshold = of.thresholds
    return {
        "foreground": round(threshold.foreground, 6),
        "marker": round(threshold.marker, 6),
        "area": threshold.area,
        "saddle_ratio": of.settings.saddle_ratio,
        "score_min": manifest.score_threshold,
    }


def _rdf(manifest: Manifest, of: Pipeline, signature: Signature, files: dict[str, bytes]) -> dict[str, Any]:
    def entry(name: str) -> dict[str, str]:
        return {"source": name, "sha256": hashlib.sha256(files[name]).hexdigest()}

    halo = of.settings.overlap // 2
    least = -(-(2 * halo + 64) // of.stride) * of.stride  # of a tile, of which the halo is no answer
    [output] = manifest.networks[next(iter(manifest.networks))].graphs["maps"].outputs
    names = list(MAPS)[: int(str(output.shape[1]))]
    steps = {"min": least, "step": of.stride}
    return {
        "format_version": FORMAT,
        "type": "model",
        "name": f"{manifest.run} of monolayer".replace("_", " "),
        "description": f"Maps of the cells in grey images: {' and '.join(names)}.",
        "authors": [{"name": name} for name in signature.authors],
        "license": signature.licence,
        "cite": [{"text": "Ronneberger et al. 2015, U-Net", "doi": "10.1007/978-3-319-24574-4_28"}],
        "documentation": "README.md",
        "covers": ["cover.png"],
        "tags": ["cells", "2d", "instance-segmentation", "unet", "monolayer"],
        "inputs": [
            {
                "id": "image",
                "description": "Grey levels from 0 to 255.",
                "axes": [
                    {"type": "batch"},
                    {"type": "channel", "channel_names": ["grey"]},
                    *({"type": "space", "id": axis, "size": steps} for axis in "yx"),
                ],
                "data": {"type": "float32", "range": [0, 255]},
                "test_tensor": entry("test_input.npy"),
            }
        ],
        "outputs": [
            {
                "id": "maps",
                "description": "; ".join(MAPS[name] for name in names),
                "axes": [
                    {"type": "batch"},
                    {"type": "channel", "channel_names": names},
                    *(
                        {"type": "space", "id": axis, "halo": halo, "size": {"tensor_id": "image", "axis_id": axis}}
                        for axis in "yx"
                    ),
                ],
                "data": {"type": "float32", "range": [0, 1]},
                "test_tensor": entry("test_output.npy"),
            }
        ],
        "weights": {"onnx": {**entry("model.onnx"), "opset_version": 20}},
    }


def _readme(manifest: Manifest, of: Pipeline, folder: Path) -> str:
    arguments = ", ".join(f"{name}={value}" for name, value in _decoder(manifest, of).items())
    card = folder / manifest.card
    told = card.read_text(encoding="utf-8").partition("\n")[2].strip() if card.is_file() else ""
    depth, tta = manifest.percentiles, of.settings.tta
    if told and tta > 1:
        told = f"""The scores below, and `score_min`, are of the mean over {tta} turned copies of each image (`tta`).
The model here sees one, and need not score as well.

{told}"""
    return f"""# {manifest.run}

Give grey levels from 0 to 255. Those of an image of more than 8 bits are made so (`pip install monolayer`; no torch):

```python
from monolayer.api import grey_levels
levels = grey_levels(image, low={depth.low:g}, high={depth.high:g})
```

Its percentiles `low` and `high` become 0 and 255, but within bounds, without which noise would become cells: an image
of 8 bits in a deeper file stays that image, one grey value never becomes several, and where the contrast between the
percentiles is less than {THROUGH[0]:g} times the median, as of light that comes through cells, the median becomes
{MIDDLE} and 0 becomes 0.

Give whole images, or blocks of several hundred pixels: the median of what is given is taken for the background.

## From maps to cells

The outputs are maps, not yet cells. The step from there is in the same package:

```python
from monolayer.api import decode
labels = decode(maps[0], {arguments})
```

Where the foreground is above `foreground`, connected parts with a distance above `marker` are markers, cut at saddles
shallower than `saddle_ratio` times the shallower side; a watershed on the distance grows them over the foreground, and
what is smaller than `area` px² or scores less than `score_min` is no cell.

## Validation

{told or "No scores are known."}
"""
