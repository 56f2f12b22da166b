"""What can be wrong with a dataset: the kinds of findings, whether they stop the run, and how they are gathered."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from monolayer.coco.records import Finding

EXAMPLES = 20

# Seen by `download`, which repairs or leaves out; none of these stops the run.
REPAIRED = {
    "ids_renumbered": "image or annotation ids that several files or records use; renumbered",
    "no_mask": "annotations without a polygon of at least three points or a mask; left out",
    "outside_image": "annotations without a pixel inside their image; left out",
    "clipped": "annotations that reach more than 1 px out of their image; clipped at its edge",
    "box_replaced": "boxes that don't fit their mask; computed from the mask",
    "area_replaced": "areas that don't fit their mask; computed from the mask",
    "unlisted_files": "image files that the annotations don't list; not used",
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
    "shared_well": "wells (or originals of augmented copies) in several splits: near twins may be apart",
    "line_not_in_split": "cell lines that a split lacks",
    "same_file": "files that several image records of one split share",
    "same_content": "images with the same pixels under several names; split keeps them together",
    "blank_image": "images with one grey value only",
    "empty_mask": "annotations without a pixel",
    "box_outside": "boxes that reach more than 1 px out of their image",
    "overlapping": "pairs of annotations of one image that overlap by more than `duplicate_iou`: one cell drawn twice",
    "few_annotations": "images with fewer annotations than `min_annotations`: possibly not finished",
}


class Findings:
    """Gathers findings by kind, in the order of the tables above, with the first examples of each."""

    def __init__(self) -> None:
        self._counts = Counter[str]()
        self._examples: dict[str, list[str]] = defaultdict(list)

    def add(self, kind: str, example: str) -> None:
        """Note one case; `example` names the record or file and the value."""
        self._counts[kind] += 1
        if len(self._examples[kind]) < EXAMPLES:
            self._examples[kind].append(example)

    def include(self, others: Iterable[Finding]) -> None:
        """Add what another collection found."""
        for finding in others:
            self._counts[finding["kind"]] += finding["count"]
            room = EXAMPLES - len(self._examples[finding["kind"]])
            self._examples[finding["kind"]] += finding["examples"][:room]

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
