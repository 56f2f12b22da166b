"""Plates of a microscope: plan-plate, segment-plate, tabulate-plate, report-plate, watch-plate, expect."""

from __future__ import annotations

import argparse
import re
from argparse import Namespace

from monolayer.cli.options import Verbs, add_pace, add_threads, add_verb, whole
from monolayer.cli.paths import Written


def add_verbs(verbs: Verbs) -> None:
    add_verb(
        verbs,
        plan_plate,
        "plates.PlateReading",
        plate="folder of images, TIFF, OME-TIFF set, or OME-Zarr image or plate",
        output=Written(
            "folder to write plan.parquet, plan.json and labels.ome.zarr to",
            inside=("plan.parquet", "plan.json", "labels.ome.zarr"),
        ),
    )
    shard = add_verb(verbs, segment_plate, "plates.PlateFinding", plan="folder that `plan-plate` wrote")
    images = "numbers of its first and last image on the plate, as 1-200"
    shard.add_argument("--shard", type=_range, required=True, metavar="FIRST-LAST", help=images)
    add_threads(shard, "cores of the network; another number gives other last digits")
    tables = add_verb(verbs, tabulate_plate, "plates.PlateSettings", plan="folder that `plan-plate` wrote")
    tables.add_argument("--images-per-shard", type=whole(1), required=True, metavar="N", help="that each part has")
    add_verb(
        verbs,
        report_plate,
        "plates.PlateSettings",
        plan="folder that `tabulate-plate` wrote to",
        output=Written("page to write, HTML", ".html"),
    )
    live = add_verb(
        verbs,
        watch_plate,
        "plates.PlateSettings",
        plate="folder that the microscope writes to",
        output="folder for all that a plate's report is made of",
    )
    add_pace(live, settle=10.0, every=30.0)
    add_threads(live, "cores of the network; another number gives other last digits")
    fit = add_verb(
        verbs,
        expect,
        "plates.PlateFinding",
        images="folder of the images",
        splits="folder with val.json and test.json, COCO truth",
        output=Written("expected_f1.json to write; plates look for it in the model's folder", ".json"),
    )
    add_threads(fit, "cores of the network; another number gives other last digits")


def _range(text: str) -> tuple[int, int]:
    """1-200 as (1, 200)."""
    match = re.fullmatch(r"(\d+)-(\d+)", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise argparse.ArgumentTypeError(f"{text} is no range of images; write FIRST-LAST from 1 on, as 1-200")
    return int(match[1]), int(match[2])


def plan_plate(args: Namespace) -> None:
    """List the images of a plate by well, field and time; makes room for their label images."""
    from monolayer.plates import plan

    plan.plan(args.plate, args.params, args.output)


def segment_plate(args: Namespace) -> None:
    """Find and measure the cells of a shard of a plate; no byte depends on the shard's size."""
    from monolayer.plates import segment

    segment.segment(args.plan, args.params, args.shard, args.threads)


def tabulate_plate(args: Namespace) -> None:
    """Make the tables of a plate from the parts of all its shards: cells, images, wells, growth, conditions."""
    from monolayer.plates import tabulate

    tabulate.tabulate(args.plan, args.images_per_shard, args.params)


def report_plate(args: Namespace) -> None:
    """Show a plate on one page: a map with a time slider, growth, conditions, quality, pictures."""
    from monolayer.plates import report

    report.report(args.plan, args.params, args.output)


def watch_plate(args: Namespace) -> None:
    """Make a plate's tables and page again and again while the microscope writes it, until it is stopped."""
    import signal
    import threading

    from monolayer.plates.live import LivePlate, follow

    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    try:
        plate = LivePlate(args.plate, args.output, args.params, args.threads)
        follow(plate, args.settle_seconds, args.every_seconds, stop.is_set)
    except KeyboardInterrupt:  # what was found is noted
        return


def expect(args: Namespace) -> None:
    """Fit on val what F1 to expect of an image without truth, and check it on test."""
    from monolayer.plates import expect

    expect.expect(args.images, args.splits, args.params, args.output, args.threads)
