"""Simulate one slide on clusters of 1 to 1,000 workers: where it stops scaling, and why.

    python benchmarks/simulate_cluster.py [--megapixels 10000] [--tile-s 0.35 ...]

An event simulation: a scheduler that hands out one task after the other, a disk that all read from in
turn, workers of one thread of which some are slow, and one head process. It goes through the steps of
`segment_large` with a client: estimates, tiles, join, pieces. The costs are those of one thread.
"""

from __future__ import annotations

import argparse
import heapq
from dataclasses import asdict, dataclass, fields, replace

import numpy as np
from tables import markdown

WORKERS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000)


@dataclass(frozen=True)
class Costs:
    """What the steps take: seconds of one thread, bytes, and tiles of a megapixel.

    All are rough estimates, each an option.
    """

    samples_s: float = 14.0  # of the estimates, whatever the size of the image
    overview_s: float = 0.008  # a megapixel read for the field of view, by the head
    tile_s: float = 0.35  # a tile on a worker, reading apart
    write_s: float = 0.02  # the file of a tile
    join_s: float = 0.012  # a tile, by the head
    piece_s: float = 0.12  # a piece of 2048 x 2048 on a worker, drawn and measured
    head_s: float = 0.002  # a piece, by the head
    tiles_a_megapixel: float = 0.65
    pieces_a_megapixel: float = 0.24
    read_bytes: float = 3.6e6  # a megapixel of tiles with their margins, uncompressed RGB
    scheduler_s: float = 0.001  # a task; dask.distributed documents 0.2 to 1 ms
    disk_bytes_s: float = 1e9  # that all share; a slow one has 1e8
    stragglers: float = 0.02  # share of the workers that are slow
    slowness: float = 4.0  # and how much


class Cluster:
    """Workers, the scheduler and the disk, each with the time at which it is free."""

    def __init__(self, workers: int, costs: Costs, seed: int = 0) -> None:
        self.costs, self.rng = costs, np.random.default_rng(seed)
        slow = self.rng.random(workers) < costs.stragglers
        self.speed = np.where(slow, costs.slowness, 1.0)
        self.now = self.disk = 0.0

    def alone(self, seconds: float) -> None:
        """Let the head work while all others wait."""
        self.now += seconds

    def each(self, tasks: int, seconds: float, size: float) -> None:
        """Do tasks on the workers, each with bytes to read before it."""
        free = [(self.now, worker) for worker in range(len(self.speed))]
        scheduler = end = self.now
        for duration in self.rng.gamma(4.0, seconds / 4.0, tasks):  # tiles differ by the cells in them
            idle, worker = heapq.heappop(free)
            scheduler += self.costs.scheduler_s  # it hands out ahead of time, so that it is late only if slow
            self.disk = max(self.disk, idle, scheduler) + size / self.costs.disk_bytes_s
            done = self.disk + duration * self.speed[worker]
            heapq.heappush(free, (done, worker))
            end = max(end, done)
        self.now = end


def simulate(workers: int, megapixels: float, costs: Costs) -> dict[str, float]:
    """Return the seconds of each step, and of all."""
    cluster, steps = Cluster(workers, costs), {}

    def step(name: str) -> None:
        steps[name] = cluster.now - sum(steps.values())

    tiles, pieces = (
        max(1, round(megapixels * each)) for each in (costs.tiles_a_megapixel, costs.pieces_a_megapixel)
    )
    cluster.alone(costs.samples_s + costs.overview_s * megapixels)
    step("estimates")
    cluster.each(tiles, costs.tile_s + costs.write_s, costs.read_bytes * megapixels / tiles)
    step("tiles")
    cluster.alone(costs.join_s * tiles)
    step("join")
    cluster.each(pieces, costs.piece_s, costs.read_bytes * megapixels / pieces / 4)
    cluster.alone(costs.head_s * pieces)
    step("pieces")
    return {**steps, "all": cluster.now}


def table(megapixels: float, costs: Costs) -> str:
    """Return a Markdown table, a row a number of workers."""
    rows = []
    alone = simulate(1, megapixels, replace(costs, stragglers=0.0))["all"]
    for workers in WORKERS:
        found = simulate(workers, megapixels, costs)
        numbers = [f"{found[name]:,.0f}" for name in ("estimates", "tiles", "join", "pieces", "all")]
        faster = alone / found["all"]
        rows.append((f"{workers:,}", *numbers, f"{faster:,.1f}", f"{faster / workers:.0%}"))
    headings = "workers", "estimates", "tiles", "join", "pieces", "seconds", "faster", "efficiency"
    return markdown(headings, rows)


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--megapixels", type=float, default=10_000.0)
    for field in fields(Costs):
        option = f"--{field.name.replace('_', '-')}"
        parser.add_argument(option, type=float, default=field.default)
    args = parser.parse_args()
    costs = Costs(**{field.name: getattr(args, field.name) for field in fields(Costs)})
    print(", ".join(f"{name} {value:.4g}" for name, value in asdict(costs).items()), "\n")
    print(table(args.megapixels, costs))


if __name__ == "__main__":
    main()
