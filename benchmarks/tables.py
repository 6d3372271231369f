"""Tables in Markdown, and what machine their figures are from."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Sequence
from pathlib import Path


def markdown(headings: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """Return a table, what is not in the first column to the right."""
    rule = ["---", *["---:"] * (len(headings) - 1)]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in (headings, rule, *rows))


def cores() -> int:
    """Return the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def load() -> float:
    """Return how many processes want a core, the mean of a minute; 0 where the system does not tell."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


def machine() -> str:
    """Say in a sentence what this runs on."""
    name, memory = platform.processor() or platform.machine(), ""
    try:
        info = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        name = next(line.split(":")[1].strip() for line in info.splitlines() if line.startswith("model name"))
        flags = next(line for line in info.splitlines() if line.startswith("flags")).split()
        known = {"avx2": "AVX2", "avx512f": "AVX-512", "avx512_bf16": "bf16", "avx512_vnni": "VNNI"}
        name += " (" + ", ".join([word for flag, word in known.items() if flag in flags]) + ")"
        total = int(Path("/proc/meminfo").read_text(encoding="utf-8").split()[1])
        memory = f", {total / 1e6:.0f} GB of memory"
    except (OSError, StopIteration):
        pass
    system = f"{platform.system()}, Python {platform.python_version()}"
    return f"{name}, {cores()} cores{memory}, {system}; load average at the start {load():.1f}."
