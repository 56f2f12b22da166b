"""What can be wrong with a dataset: the kinds of findings, whether they stop the run, and how they are gathered."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable

from monolayer.coco.records import Finding

EXAMPLES = 20
log = logging.getLogger(__name__)

# Seen by whoever reads truth, which is repaired or left out; none of these stops the run.
REPAIRED = {
    "ids_renumbered": "image or annotation ids that are missing or used several times; renumbered",
    "no_mask": "annotations without a polygon of at least three points or a mask; left out",
    "outside_image": "annotations without a pixel inside their image; left out",
    "crowds": "annotations marked as crowds (iscrowd 1), which never count as cells; where each is one cell, as CVAT "
    "exports them, set iscrowd to 0",
    "one_corner": "files whose masks all lie in the upper left quarter of their images: are their coordinates those of "
    "smaller images?",
    "area_unit": "files of which most areas are a third larger or smaller than their masks: are they in µm²? Diameters "
    "and classes of size are computed from them; leave `area` out",
    "clipped": "annotations that reach more than 1 px out of their image; clipped at its edge",
    "box_replaced": "boxes that don't fit their mask; computed from the mask",
    "area_replaced": "areas that don't fit their mask; computed from the mask",
    "unlisted_files": "image files that the annotations don't list; not used",
    "unannotated": "images without a file of masks; left out",
    "no_image": "files of masks whose image is not there; not used",
    "ignored_regions": "regions that nobody annotated; they count neither way",
    "no_cell": "shapes that are no cells, backgrounds and texts; left out",
    "pixel_outlines": "ROIs whose outline steps from pixel to pixel, as Cellpose saves them, which hold these pixels",
    "regions": "outlines that hold two or more others, or in QuPath detections, as a region of interest does; left out",
    "no_own_mask": "markers of tracks whose cell has no mask of its own; what lies within the radius of a median cell "
    "around each, and is no other cell, counts neither way",
    "no_marker": "masks that hold no marker of a track; they count neither way",
    "not_shown": "tracks that a frame between their first and last does not show",
    "categories": "cell lines with annotations of several categories, all of which count as cells; take out those that "
    "are none, or name their category `ignore`",
    "same_well": "wells that have one name and cell line in several parts, and are taken for one well, in splits, "
    "growth and tracks; if they are of several plates, let `well` name the plate too",
    "no_line": "images without an annotation, whose cell line no category tells; left out",
    "annotated_twice": "files annotated twice within a split; treated as `dedup` says",
    "left_split": "files listed in several splits; kept only in the one that judges more (test, then val)",
}
# Seen by `audit`. Scores would mean nothing.
STOPS = {
    "no_images": "there is no image",
    "no_annotations": "there is no annotation",
    "missing_image": "images that the truth lists but the folder lacks",
    "unreadable_image": "images that are not readable as 8-bit grey PNG",
    "size_mismatch": "images or masks whose size is not the one that the truth gives the image",
    "duplicate_image_id": "image ids used twice",
    "duplicate_annotation_id": "annotation ids used twice",
    "dangling_annotation": "annotations of an image that is not listed",
    "in_test_and_train": "images in test that are in train or val too, by name or by content: scores would be memory",
}
# Seen by `audit`. Worth knowing, and possibly worth curing.
WARNINGS = {
    "in_train_and_val": "images in train and in val, by name or by content: the choice of the best epoch and of score "
    "thresholds is optimistic; scores on test are not touched",
    "near_copies_apart": "fields with frames (near-copies) in several of the source's splits: scores flatter",
    "shared_well": "wells (or originals of augmented copies) in several splits: near twins may be apart",
    "line_not_in_split": "cell lines that a split lacks",
    "near_copies": "fields of which several images are frames (near-copies); split keeps them together",
    "same_file": "files that several image records of one split share",
    "same_content": "images with the same pixels under several names; split keeps them together",
    "blank_image": "images with one grey value only",
    "empty_mask": "annotations without a pixel",
    "box_outside": "boxes that reach more than 1 px out of their image",
    "overlapping": "pairs of annotations of one image that overlap by more than `duplicate_iou`: one cell drawn twice",
    "few_annotations": "images with fewer annotations than `min_annotations`: possibly not finished",
}


def log_findings(findings: Iterable[Finding]) -> None:
    for finding in findings:
        log.warning("%d × %s, e.g. %s", finding["count"], finding["meaning"], finding["examples"][0])


class Findings:
    """Gathers findings by kind, in the order of the tables above, with the first examples of each."""

    def __init__(self) -> None:
        self._counts = Counter[str]()
        self._examples: dict[str, list[str]] = defaultdict(list)

    def add(self, kind: str, example: str, count: int = 1) -> None:
        """Note a case, or so many; `example` names the record or file and the value."""
        self._counts[kind] += count
        if len(self._examples[kind]) < EXAMPLES:
            self._examples[kind].append(example)

    def include(self, others: Iterable[Finding]) -> None:
        """Add what another collection found."""
        for finding in others:
            self._counts[finding["kind"]] += finding["count"]
            room = EXAMPLES - len(self._examples[finding["kind"]])
            self._examples[finding["kind"]] += finding["examples"][:room]

    def count(self, kind: str) -> int:
        return self._counts[kind]

    def records(self) -> list[Finding]:
        return [
            Finding(
                kind=kind,
                severity="stop" if kind in STOPS else "warn",
                meaning=meaning,
                count=self._counts[kind],
                examples=self._examples[kind],
            )
            for kind, meaning in (STOPS | WARNINGS | REPAIRED).items()
            if self._counts[kind]
        ]
