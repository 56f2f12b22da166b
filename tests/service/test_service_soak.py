"""Weeks in minutes: mixed traffic with faults. No 500, flat memory, and every answer is held against its image.

By hand for 8 hours: MONOLAYER_SOAK_SECONDS=28800 pytest -s -m slow tests/service/test_service_soak.py
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import random
import socket
import time
from collections import Counter
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
import pytest
import tifffile
from numpy.typing import NDArray
from service_fixtures import png, tiff
from service_process import Served, served

CLIENTS = 6
SETTLED = 0.4  # of the time: caches and pools are filled, and memory is as it will be


def own_image(rng: random.Random) -> tuple[NDArray[np.uint8], set[tuple[int, int]]]:
    """An image that no other request has, and the corners of its cells."""
    height, width = rng.randrange(40, 400), rng.randrange(40, 400)
    image = np.zeros((height, width), np.uint8)
    places = [(x, y) for y in range(1, height - 8, 8) for x in range(1, width - 8, 8)]
    corners = set(rng.sample(places, rng.randrange(min(60, len(places)))))
    for x, y in corners:
        image[y : y + 5, x : x + 5] = 255
    return image, corners


async def honest(session: httpx.AsyncClient, service: Served, rng: random.Random, seen: Counter[str]) -> None:
    """Ask for an image's cells in any form, and hold the answer against it."""
    image, corners = own_image(rng)
    content = png(image) if rng.random() < 0.5 else tiff(image)
    form = rng.choice(["application/json", "text/csv", "image/tiff", "application/vnd.coco+json"])
    query = {"keep": "true"} if rng.random() < 0.1 else {}
    url, files = f"{service.url}/segment", {"image": ("a", content)}
    answer = await session.post(url, params=query, files=files, headers={"Accept": form})
    seen[str(answer.status_code)] += 1
    if answer.status_code in (429, 503):
        await asyncio.sleep(min(0.2, float(answer.headers["Retry-After"])))
        return
    assert answer.status_code == 200, answer.text
    if form == "application/json":
        cells = answer.json()["frames"][0]["cells"]
        assert {(cell["box_x_px"], cell["box_y_px"]) for cell in cells} == corners
    elif form == "text/csv":
        table = pd.read_csv(io.BytesIO(answer.content))
        assert set(zip(table["box_x_px"], table["box_y_px"], strict=True)) == corners
    elif form == "image/tiff":
        assert np.array_equal(tifffile.imread(io.BytesIO(answer.content)) > 0, image > 0)
    else:
        assert len(answer.json()["annotations"]) == len(corners)


async def faulty(session: httpx.AsyncClient, service: Served, rng: random.Random, seen: Counter[str]) -> None:
    """What must be refused or survived."""
    how = rng.randrange(6)
    host, port = service.url.removeprefix("http://").split(":")
    image, _ = own_image(rng)
    if how == 0:  # a broken file
        content = bytearray(png(image))
        content[rng.randrange(len(content))] ^= 255
        answer = await session.post(f"{service.url}/segment", content=bytes(content), headers={"Content-Type": ""})
        assert answer.status_code in (200, 415, 422), answer.text
        seen[f"broken {answer.status_code}"] += 1
    elif how == 1:  # gone while its answer is made
        with contextlib.suppress(httpx.TimeoutException):
            await session.post(
                f"{service.url}/segment", files={"image": png(np.zeros((1500, 1500), np.uint8))}, timeout=0.2
            )
        seen["gone"] += 1
    elif how == 2:  # gone in its upload
        line = socket.create_connection((host, int(port)))
        line.sendall(f"POST /segment HTTP/1.1\r\nHost: {host}\r\nContent-Length: 99999\r\n\r\nabc".encode())
        line.close()
        seen["gone in upload"] += 1
    elif how == 3:  # a page of another site
        answer = await session.post(
            f"{service.url}/segment", content=png(image), headers={"Origin": "http://evil.example"}
        )
        assert answer.status_code == 403
        seen["stranger 403"] += 1
    elif how == 4:  # larger than can be done in time
        answer = await session.post(f"{service.url}/segment", files={"image": png(np.zeros((7000, 7000), np.uint8))})
        assert answer.status_code in (413, 429), answer.text
        seen[f"too large {answer.status_code}"] += 1
    else:
        answer = await session.get(f"{service.url}{rng.choice(['/health', '/ready', '/metrics', '/models', '/no'])}")
        assert answer.status_code in (200, 404)
        seen["other"] += 1


async def soak(service: Served, seconds: float, memory: list[tuple[float, float]]) -> Counter[str]:
    seen, started = Counter[str](), time.monotonic()

    async def client(number: int) -> None:
        rng = random.Random(number)
        async with httpx.AsyncClient(timeout=60) as session:
            while time.monotonic() - started < seconds:
                await (faulty if rng.random() < 0.2 else honest)(session, service, rng, seen)

    async def weigh() -> None:
        while (at := time.monotonic() - started) < seconds:
            memory.append((at / seconds, service.resident_mb()))
            await asyncio.sleep(max(0.5, seconds / 1000))

    await asyncio.gather(weigh(), *(client(number) for number in range(CLIENTS)))
    return seen


def mean_of(memory: list[tuple[float, float]], start: float, end: float) -> float:
    return float(np.median([mb for at, mb in memory if start <= at < end]))


LONG = int(os.environ.get("MONOLAYER_SOAK_SECONDS", "600"))


@pytest.mark.parametrize("seconds", [20, pytest.param(LONG, marks=[pytest.mark.slow, pytest.mark.timeout(LONG + 600)])])
def test_mixed_traffic_with_faults(tmp_path: Path, seconds: int) -> None:
    (tmp_path / "keep").mkdir()
    memory: list[tuple[float, float]] = []
    with served(tmp_path, keep=str(tmp_path / "keep"), seconds=8, waiting=16) as service:
        seen = asyncio.run(soak(service, seconds, memory))
        statuses = Counter(line["status"] for line in service.log_lines())
        text = service.log.read_text()
    before, after = mean_of(memory, SETTLED, (1 + SETTLED) / 2), mean_of(memory, (1 + SETTLED) / 2, 1)
    print(f"\n{seconds} s: {dict(seen)}; by the log {dict(statuses)}; {before:.0f} to {after:.0f} MB")
    assert 500 not in statuses
    assert "Traceback" not in text
    assert seen["200"] > seconds
    assert after < 1.05 * before
