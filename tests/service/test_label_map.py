"""The label image under the editor's tools: any edits are counted as they are, and undone and done again exactly."""

from __future__ import annotations

from typing import Any

import pytest
from monolayer.service.state import Settings
from playwright.sync_api import Browser
from service_fixtures import model, running

pytestmark = pytest.mark.browser

# 300 random edits: what a tool may not change, then all of them undone and done again; how many there were, and faults
SCRIPT = """async (seed) => {
    const { LabelMap } = await import("./web/labels.js");
    const faults = [], random = (n) => (seed = (seed * 1103515245 + 12345) & 0x7fffffff) % n;
    const hold = (fine, what) => fine || faults.push(what);
    const same = (a, b) => a.length === b.length && a.every((value, n) => value === b[n]);
    const covered = (labels) => labels.reduce((count, label) => count + (label > 0), 0);
    const width = 64, height = 48, labels = new Int32Array(width * height);
    for (let cell = 1; cell <= 20; cell++) {
        const x = random(56), y = random(40);
        for (let down = 0; down < 8; down++) labels.fill(cell, (y + down) * width + x, (y + down) * width + x + 8);
    }
    const map = new LabelMap(width, height, labels), states = [labels.slice()];
    const count = () => {
        const areas = new Map();
        map.labels.forEach((label, at) => {
            if (!label) return;
            areas.set(label, (areas.get(label) ?? 0) + 1);
            const box = map.boxes.get(label), x = at % width, y = (at - x) / width;
            hold(x >= box.x0 && x < box.x1 && y >= box.y0 && y < box.y1, "a box is smaller than its cell");
        });
        hold(areas.size === map.count && [...areas].every(([label, area]) => map.areas.get(label) === area), "areas");
    };
    for (let turn = 0; turn < 300; turn++) {
        const path = Array.from({ length: 1 + random(5) }, () => [random(70) - 3, random(54) - 3]);
        const before = map.labels.slice(), edits = map.done.length;
        const cells = map.cells(), one = cells[random(cells.length)];
        const tool = ["split", "merge", "draw", "rub", "remove"][random(5)];
        if (tool === "split") map.split(path);
        else if (tool === "merge") map.merge(one, cells[random(cells.length)]);
        else if (tool === "draw") map.draw(path);
        else if (tool === "remove") map.remove(one);
        else {
            map.rub(path, 1 + random(4));
            if (random(3) === 0) hold((map.cancel(), same(map.labels, before)), "cancelled, but not as before");
            else map.rubbed();
        }
        const [then, now] = [covered(before), covered(map.labels)];
        hold(tool !== "split" || then === now, "a split changed what is covered");
        hold(!["merge", "draw"].includes(tool) || then <= now, `${tool} took something away`);
        hold(!["rub", "remove"].includes(tool) || then >= now, `${tool} covered something`);
        if (map.done.length === edits) hold(same(map.labels, before), `${tool} is no edit, but changed something`);
        else states.push(map.labels.slice());
        count();
    }
    const end = map.labels.slice();
    for (; map.done.length; map.undo()) hold(same(map.labels, states[map.done.length]), "undone to another state");
    hold(same(map.labels, states[0]), "not undone");
    count();
    while (map.undone.length) map.redo();
    hold(same(map.labels, end), "not done again");
    count();
    hold(same(LabelMap.fromRuns(map.runs()).labels, end), "run lengths give something else");
    return [states.length - 1, faults];
}"""


def test_any_edits_are_undone_exactly(browser: Browser) -> None:
    with running([model()], Settings()) as url:
        page = browser.new_page()
        page.goto(url)
        for seed in range(1, 9):
            found: Any = page.evaluate(SCRIPT, seed)
            edits, faults = found
            assert faults == []
            assert edits > 80
        page.close()


LARGE = """async () => {
    const { LabelMap } = await import("./web/labels.js");
    const labels = new Int32Array(800 * 400).fill(1);
    for (let row = 0; row < 400; row++) labels.fill(2, row * 800 + 400, row * 800 + 800);
    const map = new LabelMap(800, 400, labels);
    return [map.merge(1, 2), map.count];
}"""


def test_cells_of_any_size_can_be_merged(browser: Browser) -> None:
    """A function of JavaScript takes some 120,000 values, and a cell may have more pixels."""
    with running([model()], Settings()) as url:
        page = browser.new_page()
        page.goto(url)
        assert page.evaluate(LARGE) == [{"x0": 400, "y0": 0, "x1": 800, "y1": 400}, 1]
        page.close()
