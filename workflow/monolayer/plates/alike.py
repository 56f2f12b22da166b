"""What holds for all images of a plate: channels, the one that shows the cells, pixel size; what differs is a fault."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from monolayer.data.plane import COLOURS, ImagePlane
from monolayer.files import InputError
from monolayer.params.plates import PlateReading
from monolayer.plates.about import ImageAbout, not_square, pixel_size_of, unlike
from monolayer.plates.source import Fields


def asked_plane(settings: PlateReading) -> ImagePlane:
    """What is asked of each file; where names tell the channel, it has chosen the files."""
    channel = None if names_tell_channels(settings) else settings.channel
    if channel in COLOURS:
        channel = COLOURS.index(channel) + 1
    return ImagePlane(channel if isinstance(channel, int) else None, settings.z)


def names_tell_channels(settings: PlateReading) -> bool:
    pattern = (settings.pattern or "").removeprefix("regex:")
    return "channel" in re.compile(pattern).groupindex


def usual(abouts: Fields, settings: PlateReading) -> ImageAbout:
    """What most fields say; those that differ are faults from here on."""
    for key, about in abouts.items():
        if settings.pixel_size_um is None and isinstance(about, ImageAbout) and (said := not_square(about)):
            abouts[key] = said
    known = [about for about in abouts.values() if isinstance(about, ImageAbout)]
    if not known:
        few = list(abouts.items())[:3]
        raise InputError("; ".join(f"well {well}, field {field}: {said}" for (well, field), said in few))
    most = Counter((about.channels, pixel_size_of(None, about)[0]) for about in known).most_common(1)[0][0]
    for key, about in abouts.items():
        if isinstance(about, ImageAbout) and (said := unlike(about, *most, settings.pixel_size_um)):
            abouts[key] = said
    return next(about for about in abouts.values() if isinstance(about, ImageAbout))


def channel_of(common: ImageAbout, settings: PlateReading, path: Path) -> int:
    """The channel that is meant, from 1; a number that none has may be a name, as 488."""
    names, asked = common.channels, settings.channel
    known = ", ".join(f"{number} {name}".strip() for number, name in enumerate(names, 1))
    has = f"{path} has {len(names)} channel{'s' * (len(names) > 1)} ({known})"
    if names_tell_channels(settings):
        if len(names) > 1:
            raise InputError(f"{has} in a file, and names of files tell channels too; save one channel a file")
        return 1
    if asked is None and len(names) == 1:
        return 1
    if isinstance(asked, int) and 1 <= asked <= len(names):
        return asked
    if asked is not None and names.count(str(asked)) == 1:
        return names.index(str(asked)) + 1
    if isinstance(asked, str) and names == ("",):
        return 1  # nothing says that it is another one
    if asked is None:
        raise InputError(f"{has}; say which one shows the cells: plate_settings.channel, a number or a name")
    raise InputError(f"{has}, and plate_settings.channel is {asked}; give one of them")
