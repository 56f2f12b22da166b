#!/usr/bin/env bash
# A time-lapse in an OME-Zarr whose metadata is consolidated, as ngff-zarr leaves it. Frames were added to its array
# since, and a label image to its group, by zarr itself.
#
# Guess before running: group["0"] is as long as the array, for its own metadata says so, and the label image is there;
# a consolidated copy is read by zarr.open_consolidated alone, as in zarr 2.
# Seen (zarr 3.1.6): zarr.open_group takes the copy by itself, and nothing that writes brings it up to date: 3 frames of
# 6, and no label image, in both formats, with no word. zarr.open_array and use_consolidated=False have all.
set -euo pipefail
command -v uv >/dev/null || pip install -q uv
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/probe.py" <<'PY'
import warnings

import zarr

warnings.simplefilter("ignore")  # one says that format 3 has no standard for it yet, on writing
for zarr_format in (2, 3):
    path = f"{zarr_format}.zarr"
    group = zarr.open_group(path, mode="w", zarr_format=zarr_format)
    group.create_array("0", shape=(3, 8, 8), chunks=(1, 8, 8), dtype="uint8")
    zarr.consolidate_metadata(path)
    later = zarr.open_group(path, mode="a")
    later["0"].resize((6, 8, 8))
    later["0"][3:] = 7
    later.create_group("labels").create_array("cells", shape=(6, 8, 8), dtype="uint32")
    seen = {}
    for name, options in (("zarr.open_group", {}), ("use_consolidated=False", {"use_consolidated": False})):
        read = zarr.open_group(path, mode="r", **options)
        seen[name] = read["0"].shape[0], "labels" in read
    seen["zarr.open_array"] = zarr.open_array(f"{path}/0", mode="r").shape[0]
    print(f"zarr {zarr.__version__}, format {zarr_format}; frames, labels:", seen)
    assert seen["zarr.open_group"] == (3, False), "the finding is out of date"
    assert (seen["use_consolidated=False"], seen["zarr.open_array"]) == ((6, True), 6)
PY
cd "$work"
uv run --quiet --isolated --no-project --python 3.11 --with zarr==3.1.6 --with numpy==2.4.6 python probe.py
