"""What a running service holds: its models, its settings, what is under way."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from monolayer.params.data import Percentiles
from monolayer.params.steps import LinkParams, NeighbourParams
from monolayer.service.batcher import Segment
from monolayer.service.door import Door
from monolayer.service.gauges import Gauges
from monolayer.service.uploads import Limits


@dataclass(frozen=True)
class ServedModel:
    """A model that the service offers; score_min is what a request gets that names none."""

    name: str
    family: str
    lines: list[str]  # that have a network of their own
    dtype: str
    score_min: float
    percentiles: Percentiles  # scale images of more than 8 bits
    neighbours: NeighbourParams
    segment: Segment
    batch: int
    digest: str = ""  # of its files
    tta: int | None = None
    diameter: float | None = None  # px, of the cells in the images
    line_required: bool = False  # no network is for images of all lines
    enlarged: float = 1.0  # pixels that its networks see for each of an image
    stride: int = 1  # px, least side of an image


LINKS = LinkParams(
    max_move=1.5, sparse_move=0.75, gap_frames=2, gap_move=1.5, division_move=1.2, division_area=1.7, drift=5
)


@dataclass(frozen=True)
class Settings:
    """Run-time choices. `keep` is a folder for images that a request asks to store, `corrections` one for what the
    page's editor saves; None: nothing is ever stored.

    Pages of `hosts` may ask too, and the service answers to these names beside its addresses and this machine's name.
    """

    limits: Limits = field(default_factory=Limits)
    key: str | None = None
    keep: Path | None = None
    corrections: Path | None = None
    sample: Path | None = None
    hosts: tuple[str, ...] = ()
    links: LinkParams = LINKS  # of the cells of a series
    grace_s: float = 30.0  # from SIGTERM to the end, for what is under way


@dataclass
class State:
    """What a running service holds."""

    settings: Settings
    models: dict[str, ServedModel]
    gauges: Gauges
    door: Door
    ready: bool = False
    served: bool = False  # it was ready once
    ended: bool = False  # no thread works on
