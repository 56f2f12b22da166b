"""What /metrics shows of one application."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Gauges:
    """Counters and times, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter("monolayer_requests", "Requests answered.", ["route", "status"], registry=self.registry)
        self.seconds = Histogram(
            "monolayer_request_seconds", "Time of a request.", ["route"], registry=self.registry, buckets=SECONDS
        )
        self.images = Counter("monolayer_images", "Frames segmented.", registry=self.registry)
        self.cells = Counter("monolayer_cells", "Cells found, from the model's own score up.", registry=self.registry)
        self.batch = Histogram(
            "monolayer_batch_images", "Images of a batch.", registry=self.registry, buckets=(1, 2, 4, 8, 16, 32)
        )
        self.waiting = Gauge("monolayer_waiting_requests", "Requests under way.", registry=self.registry)

    def text(self) -> bytes:
        return generate_latest(self.registry)
