"""The service under load, at its limits and at its end: a process of its own, real connections, real signals."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
from service_fixtures import field, png, tiff
from service_process import Served, served

LARGE = (3000, 3000)  # 9 megapixels: 4.5 s
SMALL = png(field(5))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("served"), seconds=30, bytes=4_000_000, pixels=128 << 20) as service:
        yield service


def post(service: Served, content: bytes, timeout: float = 60, headers: dict[str, str] | None = None) -> httpx.Response:
    return httpx.post(f"{service.url}/segment", files={"image": ("a.png", content)}, timeout=timeout, headers=headers)


def lingering(size: tuple[int, int]) -> bytes:
    """An image that takes ten times as long as it is estimated at."""
    image = field(5, size)
    image[-1, -1] = 255
    return png(image)


def statuses(service: Served, path: str, count: int) -> list[int]:
    """Of the answers under this path, once there are so many: a line is written when its answer is on its way."""
    end = time.monotonic() + 20
    while True:
        found = [line["status"] for line in service.log_lines() if line["path"] == path]
        if len(found) >= count or time.monotonic() > end:
            return found
        time.sleep(0.05)


# ---- time ------------------------------------------------------------------------------------------------


def test_what_can_not_be_done_in_time_is_refused_with_numbers(shared: Served) -> None:
    started = time.monotonic()
    answer = post(shared, png(np.zeros((9000, 9000), np.uint8)))
    assert time.monotonic() - started < 20
    assert answer.status_code == 413
    said = answer.json()["detail"]
    assert said.startswith("a.png has 81,000,000 pixels; at the ")
    assert "a request may take 30" in said
    pages = post(shared, tiff(np.zeros((60, 1200, 1100), np.uint8), compression="zlib"))
    assert pages.status_code == 413
    assert "79,200,000 pixels" in pages.json()["detail"]


def test_small_requests_pass_large_ones(shared: Served) -> None:
    with ThreadPoolExecutor(1) as pool:
        large = pool.submit(post, shared, png(field(5, LARGE)))
        time.sleep(0.5)
        times = []
        for _ in range(10):
            started = time.monotonic()
            assert post(shared, SMALL).status_code == 200
            times.append(time.monotonic() - started)
        assert not large.done(), "it is under way all the while"
        assert large.result().status_code == 200
    assert max(times) < 5


def test_large_ones_that_would_wait_too_long_are_told_when_to_come_back(shared: Served) -> None:
    with ThreadPoolExecutor(12) as pool:  # whose clients go after 4 s
        jobs = [pool.submit(post, shared, png(field(5, LARGE)), 4) for _ in range(12)]
    answers = [job.result() for job in jobs if job.exception() is None]
    late = [answer for answer in answers if answer.status_code == 429]
    assert 0 < len(late) < 12
    assert all(int(answer.headers["Retry-After"]) > 0 for answer in late)
    assert "what came before takes another" in late[0].json()["detail"]


def settled_mb(service: Served) -> float:
    """Its memory once it has warmed up every form of answer, which goes on for a while after it is ready."""
    seen = [0.0]
    while (now := service.resident_mb()) > seen[-1] or len(seen) < 6 or seen[-6] < now:
        seen.append(now)
        time.sleep(0.5)
    return now


def test_large_images_come_into_memory_one_by_one(tmp_path: Path) -> None:
    with served(tmp_path, seconds=400) as service:
        before, content, peak = settled_mb(service), png(np.zeros((6000, 6000), np.uint8)), 0.0
        with ThreadPoolExecutor(8) as pool:
            jobs = [pool.submit(post, service, content, 6) for _ in range(8)]
            while not all(job.done() for job in jobs):
                peak = max(peak, service.resident_mb())
                time.sleep(0.02)
        assert all(isinstance(job.exception(), httpx.ReadTimeout) for job in jobs), "under way or waiting"
    assert peak - before < 4 * 36, "megabytes: of one image of 36 and what decodes it, not of eight"


def test_work_stops_when_its_time_is_over_and_when_its_client_goes(tmp_path: Path) -> None:
    with served(tmp_path, seconds=2) as service:
        started = time.monotonic()
        assert post(service, lingering((1500, 1400))).status_code == 504
        assert 1.9 < time.monotonic() - started < 6
        for _ in range(2):
            with pytest.raises(httpx.ReadTimeout):
                post(service, lingering((1500, 1400)), timeout=0.5)
        started = time.monotonic()  # three times 10 s of work would be left
        assert [post(service, SMALL).status_code for _ in range(3)] == [200] * 3
        assert time.monotonic() - started < 2
        assert Counter(statuses(service, "/segment", 6)) == {504: 1, 499: 2, 200: 3}
        assert "Traceback" not in service.log.read_text()


# ---- the end -----------------------------------------------------------------------------------------------


def test_at_its_end_what_can_not_be_finished_is_told_to_come_back(tmp_path: Path) -> None:
    """Requests of all lengths and half an upload in flight at SIGTERM: an answer or 503 for each, and in time."""
    with served(tmp_path, grace_s=4, seconds=60) as service:
        contents = [SMALL] * 6 + [lingering((2100, 2100))] * 6
        half = upload_head(service, 1000)
        with ThreadPoolExecutor(12) as pool:
            jobs = [pool.submit(post, service, content) for content in contents]
            time.sleep(0.7)
            started = time.monotonic()
            service.process.send_signal(signal.SIGTERM)
            answers = [job.result() for job in jobs]
        assert service.process.wait(20) == -signal.SIGTERM
        assert time.monotonic() - started < 4 + 3  # the seconds are those of a busy machine
        half.close()
        assert Counter(answer.status_code for answer in answers) == {200: 6, 503: 6}
        assert all(int(answer.headers["Retry-After"]) > 0 for answer in answers if answer.status_code == 503)
        assert "Traceback" not in service.log.read_text()
        assert 500 not in [line["status"] for line in service.log_lines()]


# ---- connections -------------------------------------------------------------------------------------------


def upload_head(service: Served, length: int) -> socket.socket:
    """A connection that has begun to send a body of that length."""
    host, port = service.url.removeprefix("http://").split(":")
    line = socket.create_connection((host, int(port)))
    head = f"POST /segment HTTP/1.1\r\nHost: {host}\r\nContent-Type: image/png\r\nContent-Length: {length}\r\n\r\n"
    line.sendall(head.encode() + b"\x89PNG")
    return line


def test_broken_files_and_long_paths_fill_no_log(shared: Served) -> None:
    before = shared.log.stat().st_size
    for cut in range(200, 700, 25):
        assert post(shared, tiff(np.stack([field(3)] * 9))[:cut] + bytes(900)).status_code in (415, 422)
    assert httpx.get(f"{shared.url}/{'x' * 60_000}").status_code == 404
    assert shared.log.stat().st_size - before < 21 * 400, "a line for each"


def test_a_client_that_goes_in_its_upload_is_a_line_and_no_fault(shared: Served) -> None:
    before = len(statuses(shared, "/segment", 0))
    for _ in range(5):
        upload_head(shared, 1_000_000).close()
    assert statuses(shared, "/segment", before + 5)[before:] == [499] * 5
    assert "Traceback" not in shared.log.read_text()


def test_slow_uploads_take_no_place_and_have_their_time(tmp_path: Path) -> None:
    with served(tmp_path, seconds=3, waiting=4) as service:
        slow = [upload_head(service, 1000) for _ in range(64)]
        assert [post(service, SMALL).status_code for _ in range(5)] == [200] * 5
        deadline = time.monotonic() + 15
        for line in slow:
            line.settimeout(max(0.1, deadline - time.monotonic()))
            assert line.recv(100).startswith(b"HTTP/1.1 408")
            line.close()


def test_an_answer_that_nobody_fetches_is_dropped(tmp_path: Path) -> None:
    with served(tmp_path, seconds=4, bytes=8_000_000) as service:
        content = png(np.random.default_rng(0).integers(0, 128, (1900, 2000), np.uint8))
        host, port = service.url.removeprefix("http://").split(":")
        with socket.socket() as line:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            line.connect((host, int(port)))
            asks = f"POST /segment?picture=true HTTP/1.1\r\nHost: {host}\r\nContent-Type: image/png\r\n"
            line.sendall(f"{asks}Content-Length: {len(content)}\r\n\r\n".encode() + content)
            assert statuses(service, "/segment", 1) == [200], "4 MB are on their way"
            time.sleep(6)
            line.settimeout(10)
            head, _, body = b"".join(iter(lambda: line.recv(1 << 16), b"")).partition(b"\r\n\r\n")
            announced = int(head.lower().split(b"content-length: ")[1].split()[0])
            assert len(body) < announced, "the rest was dropped"


def test_idle_connections_leave_room_for_health(tmp_path: Path) -> None:
    """More connections than files may be open: the oldest idle ones go, and the log stays short."""
    with served(tmp_path, files=256, seconds=3) as service:
        host, port = service.url.removeprefix("http://").split(":")
        held = [socket.socket() for _ in range(300)]
        for line in held:
            line.setblocking(False)
            line.connect_ex((host, int(port)))
        for _ in range(5):
            assert httpx.get(f"{service.url}/health", timeout=10).status_code == 200
        assert post(service, SMALL).status_code == 200
        with socket.create_connection((host, int(port))) as half:
            half.sendall(b"GET /health HT")
            half.settimeout(20)
            assert half.recv(10) == b"", "half a header is not waited for"
        assert service.log.stat().st_size < 100_000
        for line in held:
            line.close()


# ---- what is kept ------------------------------------------------------------------------------------------


def test_the_same_request_id_overwrites_nothing_and_a_full_disk_loses_no_answer(tmp_path: Path) -> None:
    keep = tmp_path / "keep"
    keep.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(keep)], check=False)
    if mounted.returncode != 0:
        pytest.skip("can't mount a file system here (needs root)")
    try:
        with served(tmp_path, keep=str(keep)) as service:
            for count in (3, 4):
                answer = httpx.post(
                    f"{service.url}/segment?keep=true&masks=none",
                    content=png(field(count)),
                    headers={"X-Request-ID": "the-same-one", "Content-Type": "image/png"},
                )
                assert answer.status_code == 200
            assert (keep / "the-same-one.image").read_bytes() == png(field(3))
            assert (keep / "the-same-one.2.image").read_bytes() == png(field(4))
            many = {"X-Request-ID": "too-large-for-it", "Content-Type": "image/png"}
            content = png(np.random.default_rng(0).integers(0, 100, (400, 400), np.uint8))
            answer = httpx.post(f"{service.url}/segment?keep=true", content=content, headers=many)
            assert (answer.status_code, answer.headers["X-Not-Kept"]) == (200, "No space left on device")
            assert not list(keep.glob("*too-large*"))
            assert "Traceback" not in service.log.read_text()
    finally:
        subprocess.run(["umount", "--lazy", str(keep)], check=True)


# ---- strangers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),  # a program
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),  # another server of the same machine
        ({"Origin": "http://[evil"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "https://lims.lab"}, 200),  # allowed
        ({"Host": "evil.example"}, 421),  # a stranger's name that leads here
        ({"Host": "evil.example:80"}, 421),
        ({"Host": "cells.lab:8000"}, 200),
        ({"Host": "localhost"}, 200),
        ({"Host": "[::1]:8000"}, 200),
        ({"Host": "192.168.1.7:8000", "Origin": "http://192.168.1.7:8000"}, 200),
        ({"Host": "127.0.0.1.evil.example"}, 421),
        ({"Host": "[evil"}, 421),
    ],
)
def test_pages_of_other_sites_are_not_answered(stranger: Served, headers: dict[str, str], status: int) -> None:
    assert post(stranger, SMALL, headers=headers).status_code == status


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("hosts"), hosts=["cells.lab", "lims.lab"]) as service:
        yield service


def test_a_link_from_another_site_opens_the_page(stranger: Served) -> None:
    visit = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert httpx.get(f"{stranger.url}/", headers=visit).status_code == 200
    embed = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
    assert httpx.get(f"{stranger.url}/sample", headers=embed).status_code == 403
    assert httpx.get(f"{stranger.url}/sample").headers["Cross-Origin-Resource-Policy"] == "same-origin"


def test_what_is_open_beside_a_key(tmp_path: Path) -> None:
    with served(tmp_path, key="secret") as service:
        for path in ("/", "/health", "/ready", "/openapi.json", "/web/page.js"):
            assert httpx.get(service.url + path).status_code == 200
        for path in ("/models", "/metrics", "/sample", "/corrections", "/no/such"):
            assert httpx.get(service.url + path).status_code == 401
            assert httpx.get(service.url + path, headers={"X-API-Key": "secret"}).status_code in (200, 404)
        assert post(service, SMALL).status_code == 401
