"""What the service costs on top of its network: images a second against the bare predictor, and times at 8 clients.

    python tests/benchmarks/service.py MODEL IMAGE [IMAGE ...] [--clients 8] [--seconds 20]

The bare predictor segments the same decoded images in batches; the service gets them as files and answers with JSON,
measurements and RLE. It runs in a process of its own, as the clients do; CPU seconds of both processes are given too,
because wall times are those of a quiet machine only.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import numpy as np
from monolayer.data.images import grey
from monolayer.models import predictor
from monolayer.params.data import Percentiles


def bare(model: Path, contents: list[bytes], threads: int, seconds: float) -> tuple[float, float]:
    """Images a second of wall time, and CPU ms an image."""
    run = predictor.load(model, threads=threads)
    images = [grey(content, "image", Percentiles(low=0.5, high=99.8)) for content in contents]
    batch = [images[n % len(images)] for n in range(run.batch)]
    run.segment(batch)
    started, cpu, count = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - started < seconds:
        run.segment(batch)
        count += len(batch)
    return count / (time.perf_counter() - started), 1000 * (time.process_time() - cpu) / count


async def load(
    url: str, contents: list[bytes], clients: int, seconds: float
) -> tuple[float, np.ndarray[tuple[int], np.dtype[np.float64]]]:
    """Images a second, and the time of each request in ms, of clients that each wait for their answer."""
    times: list[float] = []
    stop = time.perf_counter() + seconds

    async def client(number: int, session: httpx.AsyncClient) -> None:
        turn = number
        while time.perf_counter() < stop:
            sent = time.perf_counter()
            answer = await session.post(f"{url}/segment", files={"image": contents[turn % len(contents)]})
            answer.raise_for_status()
            times.append(1000 * (time.perf_counter() - sent))
            turn += clients

    started = time.perf_counter()
    async with httpx.AsyncClient(timeout=120) as session:
        await asyncio.gather(*(client(number, session) for number in range(clients)))
    return len(times) / (time.perf_counter() - started), np.array(times)


def cpu_of(process: int) -> float:
    """CPU seconds of a process."""
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("image", type=Path, nargs="+")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    contents = [path.read_bytes() for path in args.image]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [
        "serve",
        "--model",
        str(args.model),
        "--port",
        str(port),
        "--threads",
        str(args.threads),
        "--score-min",
        "0.5",
    ]
    with subprocess.Popen([sys.executable, "-m", "monolayer", *words], stderr=subprocess.DEVNULL) as process:
        url = f"http://127.0.0.1:{port}"
        ready = False
        while not ready:
            time.sleep(0.2)
            try:
                ready = httpx.get(f"{url}/ready").status_code == 200
            except httpx.HTTPError:
                assert process.poll() is None, "the service did not start"
        asyncio.run(load(url, contents, args.clients, 2.0))
        alone, cpu_alone = bare(args.model, contents, args.threads, args.seconds)
        before = cpu_of(process.pid)
        served, times = asyncio.run(load(url, contents, args.clients, args.seconds))
        cpu_served = 1000 * (cpu_of(process.pid) - before) / len(times)
        _, lone = asyncio.run(load(url, contents, 1, args.seconds / 2))
        process.terminate()
    print(f"bare predictor: {alone:.1f} images a second, {cpu_alone:.1f} ms CPU an image")
    print(f"service, {args.clients} clients: {served:.1f} images a second, {cpu_served:.1f} ms CPU an image")
    print(f"service / bare: {served / alone:.0%} by the clock, {cpu_alone / cpu_served:.0%} by CPU time")
    print(f"{args.clients} clients: median {np.median(times):.0f} ms, p95 {np.quantile(times, 0.95):.0f} ms")
    print(f"1 client: median {np.median(lone):.0f} ms, p95 {np.quantile(lone, 0.95):.0f} ms")
    print(f"memory: {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1000:.0f} MB at most")


if __name__ == "__main__":
    main()
