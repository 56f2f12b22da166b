"""What strangers and crowds do to the service: fuzzed uploads, bombs, its own description, 200 clients, shut-down."""

from __future__ import annotations

import asyncio
import io
import random
import struct
import threading
import time
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from monolayer.coco.instances import Instances
from monolayer.models.pipeline import Check
from monolayer.service.batcher import Batcher, UnwantedError
from monolayer.service.state import ServedModel, Settings
from monolayer.service.uploads import Limits
from numpy.typing import NDArray
from PIL import Image as PillowImage
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance
from service_fixtures import by_threshold, field, model, png, resident_mb, running, tiff

UPLOADS = 2000
LIMITS = Limits(bytes=4_000_000, pixels=4_000_000, frames=20, waiting=300, seconds=60)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running([model()], Settings(limits=LIMITS, corrections=tmp_path_factory.mktemp("corrected"))) as url:
        yield url


# ---- fuzzed uploads ----------------------------------------------------------------------------------


def pillow(image: PillowImage.Image, kind: str, **how: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **how)
    return buffer.getvalue()


def whole_files() -> list[bytes]:
    """Files of every kind, good and odd."""
    grey = field(50)
    colour = PillowImage.fromarray(np.stack([grey, grey // 2, 255 - grey], 2))
    deep = grey.astype(np.uint16) * 257
    series = np.stack([field(3), field(9)])
    modes = ("1", "P", "LA", "RGBA", "I;16", "I", "F", "CMYK", "YCbCr")
    files = [png(grey), png(deep), png(np.asarray(colour)), png(np.zeros((1, 1), np.uint8))]
    files += [pillow(colour, "png", save_all=True, append_images=[colour]), pillow(colour, "gif")]
    files += [pillow(colour, "bmp"), pillow(colour, "webp"), pillow(colour.convert("L"), "jpeg")]
    files += [pillow(colour, "jpeg", progressive=True), pillow(colour.convert("CMYK"), "jpeg")]
    files += [pillow(colour.convert(mode), "tiff") for mode in modes if mode not in ("P", "I;16")]
    files += [pillow(colour.convert(mode), "png") for mode in ("1", "P", "LA", "RGBA")]
    files += [tiff(grey), tiff(deep), tiff(series), tiff(deep.astype(np.float32)), tiff(grey.astype(np.int16) - 99)]
    files += [tiff(grey, bigtiff=True), tiff(grey, byteorder=">"), tiff(grey, tile=(32, 32)), tiff(grey, imagej=True)]
    files += [tiff(grey, compression=name) for name in ("zlib", "lzw", "packbits", "zstd", "jpeg")]
    files += [tiff(np.asarray(colour), photometric="rgb"), tiff(grey, photometric="miniswhite"), tiff(grey[None, None])]
    return [*files, b"", b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM\0*", b"\xff\xd8\xff", b"PK\3\4", bytes(1000)]


def fuzzed(rng: random.Random, files: Sequence[bytes]) -> bytes:
    """A file with something done to it: cut, flipped, spliced, patched with large numbers, or noise behind a header."""
    content = bytearray(rng.choice(files))
    how = rng.randrange(6)
    if how == 0:
        return bytes(content[: rng.randrange(len(content) + 1)])
    if how == 1:
        for _ in range(rng.randrange(1, 30)):
            if content:
                content[rng.randrange(len(content))] = rng.randrange(256)
    elif how == 2:
        other = rng.choice(files)
        return bytes(content[: rng.randrange(len(content) + 1)]) + other[rng.randrange(len(other) + 1) :]
    elif how == 3 and len(content) > 8:  # sizes, counts and offsets stand in four bytes
        number = rng.choice([0, 1, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, rng.randrange(1 << 32)])
        place = rng.randrange(min(len(content) - 4, 400))
        content[place : place + 4] = struct.pack(rng.choice("<>") + "I", number)
    elif how == 4:
        return bytes(content[:40]) + rng.randbytes(rng.randrange(500))
    return bytes(content)


def test_fuzzed_uploads_give_an_answer_or_a_reason(url: str) -> None:
    rng, files, seen = random.Random(0), whole_files(), Counter[int]()
    accepts = [
        "application/json",
        "image/png",
        "text/csv",
        "image/tiff",
        "application/zip",
        "application/vnd.coco+json",
    ]
    memory = []
    with httpx.Client(timeout=30) as client:
        for number in range(UPLOADS):
            content = files[number] if number < len(files) else fuzzed(rng, files)
            headers = {"Accept": rng.choice(accepts)}
            if rng.random() < 0.2:
                headers["Content-Type"] = rng.choice(["image/png", "image/tiff", "application/octet-stream"])
                answer = client.post(f"{url}/segment", content=content, headers=headers)
            else:
                name = rng.choice(["a.png", "b.tif", "ü/../c.jpg", "x" * 300, '"; rm', "\u202egnp"])
                answer = client.post(f"{url}/segment", files={"image": (name, content)}, headers=headers)
            seen[answer.status_code] += 1
            assert answer.status_code in (200, 413, 415, 422), (number, answer.status_code, answer.text[:500])
            if answer.status_code != 200:
                assert answer.json()["detail"]
            if number in (UPLOADS // 2, UPLOADS - 1):
                memory.append(resident_mb())
    print(
        f"\n{UPLOADS} uploads: {dict(sorted(seen.items()))}; {memory[0]:.0f} MB at half, {memory[1]:.0f} MB at the end"
    )
    assert seen[200] > 100
    assert seen[422] > 100
    assert memory[1] - memory[0] < 30


def bomb_png() -> bytes:
    """A PNG of 1000 x 1000 px whose data unpack to 1 GB."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(bytes(1 << 20)) for _ in range(1000)) + packer.flush()
    header = struct.pack(">IIBBBBB", 1000, 1000, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def bomb_tiff() -> bytes:
    """A TIFF of 20 x 20 px whose only strip unpacks to 1 GB."""
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(bytes(1 << 20)) for _ in range(1000)) + packer.flush()
    tags = [(256, 20), (257, 20), (258, 8), (259, 8), (262, 1), (273, 8), (277, 1), (278, 20), (279, len(packed))]
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", tag, 4, 1, v) for tag, v in tags)
    return b"II*\0" + struct.pack("<I", 8 + len(packed)) + packed + directory + bytes(4)


def bomb_of_text() -> bytes:
    """A PNG with a comment that unpacks to 1 GB."""
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(bytes(1 << 20)) for _ in range(1000)) + packer.flush()
    data = b"comment\0\0" + packed
    chunk = struct.pack(">I", len(data)) + b"zTXt" + data + struct.pack(">I", zlib.crc32(b"zTXt" + data))
    content = png(field(3))
    return content[:33] + chunk + content[33:]


def peak_mb() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1000


@pytest.mark.parametrize("bomb", [bomb_png, bomb_tiff, bomb_of_text])
def test_bombs_do_not_unpack(url: str, bomb: Any) -> None:
    content = bomb()
    Path("/proc/self/clear_refs").write_text("5")  # starts the peak anew
    before = peak_mb()
    answer = httpx.post(f"{url}/segment", files={"image": content}, timeout=60)
    assert answer.status_code in (200, 413, 422), answer.text
    assert peak_mb() - before < 120


# ---- its own description ------------------------------------------------------------------------------

schemathesis.serializer("image/png", "image/jpeg", "image/tiff")(lambda context, value: value)


@pytest.mark.parametrize(
    ("route", "mode"),
    [
        ("/segment", GenerationMode.POSITIVE),
        ("/segment", GenerationMode.NEGATIVE),
        ("/corrections/newest", GenerationMode.POSITIVE),
        ("/corrections", GenerationMode.POSITIVE),
        ("/corrections", GenerationMode.NEGATIVE),
        *((route, GenerationMode.POSITIVE) for route in ("/models", "/health", "/ready", "/metrics")),
    ],
)
def test_the_service_does_what_its_description_says(url: str, route: str, mode: GenerationMode) -> None:
    """Requests drawn from the description, fitting it or not: every answer is one that it announces."""
    api = schemathesis.openapi.from_url(f"{url}/openapi.json")
    sends = route.startswith(("/segment", "/corrections"))
    operation = api[route]["POST" if sends else "GET"]
    seen = Counter[int]()

    @settings(max_examples=150 if route == "/segment" else 60 if sends else 10, suppress_health_check=list(HealthCheck))
    @given(operation.as_strategy(mode), st.booleans())
    def check(case: Any, with_cells: bool) -> None:
        left_out = [positive_data_acceptance]  # random bytes fit `format: binary` and are no image
        if with_cells and case.media_type == "multipart/form-data" and mode is GenerationMode.POSITIVE:
            case.body = {"image": png(field(5))}
            if route == "/corrections":
                case.body["labels"] = b'{"height": 120, "width": 160, "runs": [0, 19200]}'
                case.query = {"version": 0}
            left_out.append(negative_data_rejection)  # which takes a body of ours for one that does not fit
        answer = case.call_and_validate(excluded_checks=left_out)
        seen[answer.status_code] += 1

    check()
    print(f"\n{route}, {mode.value}: {dict(sorted(seen.items()))}")
    assert mode is GenerationMode.NEGATIVE or seen[200] > 0


# ---- many at once ---------------------------------------------------------------------------------------


def own_image(client: int) -> tuple[NDArray[np.uint8], list[list[int]]]:
    """An image that no other client has, and the corners of its cells."""
    rng = np.random.default_rng(client)
    chosen = sorted(rng.choice(15 * 20, 5 + client % 60, replace=False).tolist())
    image = np.zeros((120, 160), np.uint8)
    corners = [[8 * (place % 20) + 1, 8 * (place // 20) + 1] for place in chosen]
    for x, y in corners:
        image[y : y + 5, x : x + 5] = 255
    return image, corners


async def crowd(url: str, clients: int, times: int) -> Counter[int]:
    """So many clients at once, each with its own image so many times; every answer is held against its image."""
    seen = Counter[int]()
    limits = httpx.Limits(max_connections=clients)
    async with httpx.AsyncClient(timeout=120, limits=limits) as session:

        async def client(number: int) -> None:
            image, corners = own_image(number)
            content, left = png(image), times
            while left:
                answer = await session.post(f"{url}/segment", files={"image": (f"{number}.png", content)})
                seen[answer.status_code] += 1
                if answer.status_code == 429:
                    assert float(answer.headers["Retry-After"]) > 0
                    await asyncio.sleep(0.05)
                    continue
                assert answer.status_code == 200, answer.text
                body = answer.json()
                assert body["file_name"] == f"{number}.png"
                assert sorted([c["box_x_px"], c["box_y_px"]] for c in body["frames"][0]["cells"]) == sorted(corners)
                left -= 1

        await asyncio.gather(*(client(number) for number in range(clients)))
    return seen


def test_200_clients_get_their_own_answers(url: str) -> None:
    asyncio.run(crowd(url, 200, 1))
    before, started = resident_mb(), time.monotonic()
    seen = asyncio.run(crowd(url, 200, 4))
    after = resident_mb()
    seconds = time.monotonic() - started
    print(f"\n200 clients, {sum(seen.values())} answers in {seconds:.1f} s; {before:.0f} to {after:.0f} MB")
    assert seen == {200: 800}
    assert after - before < 60


def test_too_many_are_told_to_come_back_and_then_served() -> None:
    with running([model()], Settings(limits=Limits(waiting=4))) as url:
        seen = asyncio.run(crowd(url, 40, 2))
    assert seen[200] == 80
    assert seen[429] > 0


def slow(seconds: float) -> ServedModel:
    def segment(images: Sequence[NDArray[np.uint8]], cell_line: str | None, check: Check) -> list[Instances]:
        if images[0].shape == (120, 160):  # not the image that warms up
            time.sleep(seconds)
        return by_threshold(images, cell_line)

    return replace(model("slow"), segment=segment)


def test_shut_down_finishes_what_is_under_way() -> None:
    answers: list[httpx.Response] = []

    def post(url: str) -> None:
        answers.append(httpx.post(f"{url}/segment", files={"image": png(field(5))}, timeout=30))

    with running([slow(1.5)], Settings()) as url:
        threads = [threading.Thread(target=post, args=(url,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        time.sleep(0.7)
    for thread in threads:
        thread.join()
    assert [answer.status_code for answer in answers] == [200] * 3
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/health")


def test_what_takes_too_long_is_given_up() -> None:
    with running([slow(1.0)], Settings(limits=Limits(seconds=0.4))) as url:
        answer = httpx.post(f"{url}/segment", files={"image": png(field(5))}, timeout=30)
        assert answer.status_code == 504
        assert httpx.get(f"{url}/health").status_code == 200


# ---- batches ----------------------------------------------------------------------------------------


def test_what_waits_goes_in_one_batch() -> None:
    sizes, begun, hold = list[int](), list[int](), threading.Event()

    def segment(images: Sequence[NDArray[np.uint8]], cell_line: str | None, check: Check) -> list[Instances]:
        begun.append(len(images))
        hold.wait(10)
        return by_threshold(images, cell_line)

    batcher = Batcher(segment, 4, 1 << 22, 1, lambda images, *_: sizes.append(images))
    first = batcher.submit(field(1))
    while not begun:
        time.sleep(0.01)
    others = [batcher.submit(field(count)) for count in range(2, 11)]
    hold.set()
    assert [len(done.result(10).masks) for done in (first, *others)] == list(range(1, 11))
    assert sizes == [1, 4, 4, 1]
    assert batcher.close(10)


def test_lines_are_not_mixed_and_a_bad_image_spoils_no_other() -> None:
    seen: list[tuple[str | None, int]] = []
    hold = threading.Event()

    def segment(images: Sequence[NDArray[np.uint8]], cell_line: str | None, check: Check) -> list[Instances]:
        hold.wait(10)
        seen.append((cell_line, len(images)))
        if any(image.shape == (2, 2) for image in images):
            raise ValueError("too small")
        return by_threshold(images, cell_line)

    batcher = Batcher(segment, 8, 1 << 22, 1, lambda *_: None)
    jobs: list[Future[Instances]] = [batcher.submit(field(1), "a")]
    time.sleep(0.05)
    jobs += [batcher.submit(image, "b") for image in (field(2), np.zeros((2, 2), np.uint8), field(3))]
    jobs += [batcher.submit(field(4), "a")]
    cancelled = batcher.submit(field(5), "a")
    assert cancelled.cancel()
    hold.set()
    with pytest.raises(ValueError, match="too small"):
        jobs[2].result(10)
    assert [len(jobs[n].result(10).masks) for n in (0, 1, 3, 4)] == [1, 2, 3, 4]
    assert seen == [("a", 1), ("b", 3), ("b", 1), ("b", 1), ("b", 1), ("a", 1)]
    assert batcher.close(10)
    with pytest.raises(CancelledError):
        cancelled.result()
    with pytest.raises(UnwantedError):
        batcher.submit(field(1))
