#!/usr/bin/env bash
# One TIFF of an OME-TIFF set, opened with tifffile: once where the TIFFs hold the description, once where it is in a
# .companion.ome file, as several microscopes write sets.
#
# Guess before running: both open as the set. tifffile follows the names of the other TIFFs in a description, so it
# follows the name of the companion file (BinaryOnly, MetadataFile) too; or is_ome is False, or it raises.
# Seen (tifffile 2026.3.3): the first is the time-lapse, axes TYX, 3 frames. The second has is_ome True, and is one
# frame, axes YX, of kind "generic": no time, no pixel size, and no error. The companion file itself is no TIFF to it.
set -euo pipefail
command -v uv >/dev/null || pip install -q uv
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/open.py" <<'PY'
import numpy as np
import tifffile

OME = '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"'
IDS = [f"urn:uuid:0000000{time}-0000-4000-8000-000000000000" for time in range(3)]


def described(name: str) -> str:
    planes = "".join(
        f'<TiffData FirstT="{time}" IFD="0" PlaneCount="1"><UUID FileName="{name}{time}.ome.tif">{IDS[time]}</UUID></TiffData>'
        for time in range(3)
    )
    return (
        '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint16" SizeX="9" SizeY="8" SizeC="1"'
        f' SizeZ="1" SizeT="3" PhysicalSizeX="0.65" PhysicalSizeY="0.65"><Channel ID="Channel:0:0"/>{planes}'
        "</Pixels></Image></OME>"
    )


def opened(name: str) -> str:
    with tifffile.TiffFile(name) as tif:
        [series] = tif.series
        return f"is_ome {tif.is_ome}, {series.kind}, axes {series.axes}, shape {series.shape}"


for time in range(3):
    plane = np.full((8, 9), time, np.uint16)
    own = f'{OME} UUID="{IDS[time]}">{described("all")}'
    tifffile.imwrite(f"all{time}.ome.tif", plane, description=own, metadata=None)
    binary = f'{OME}><BinaryOnly MetadataFile="set.companion.ome" UUID="{IDS[time]}"/></OME>'
    tifffile.imwrite(f"set{time}.ome.tif", plane, description=binary, metadata=None)
with open("set.companion.ome", "w") as file:
    file.write(f"{OME}>{described('set')}")
print("tifffile", tifffile.__version__)
print("described in each TIFF:  ", opened("all1.ome.tif"))
print("in the companion file:   ", opened("set1.ome.tif"))
try:
    tifffile.TiffFile("set.companion.ome")
    print("the companion file opens")
except tifffile.TiffFileError as error:
    print("the companion file itself:", str(error).split(":")[0])
PY
cd "$work"
uv run -q --no-project --python 3.11 --with tifffile==2026.3.3 --with numpy==2.4.1 open.py 2>/dev/null | tee seen.txt
grep -q "described in each TIFF: .*is_ome True, ome, axes TYX, shape (3, 8, 9)" seen.txt
grep -q "in the companion file: .*is_ome True, generic, axes YX, shape (8, 9)" seen.txt
grep -q "the companion file itself: not a TIFF file" seen.txt
