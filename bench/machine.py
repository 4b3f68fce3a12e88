"""What a figure was measured on."""

import os
import platform
import subprocess
from pathlib import Path


def facts() -> dict[str, object]:
    """Processor, cores, memory, system, Python and load, as JSON."""
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "wrk": _wrk(),
        "load_average": [round(value, 2) for value in os.getloadavg()],
    }


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def _wrk() -> str:
    try:
        done = subprocess.run(["wrk", "-v"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "not installed"
    return (done.stdout + done.stderr).split("[")[0].strip()


def say(found: dict[str, object]) -> str:
    """One line for people."""
    text = "{cpu}, {cores} cores, {memory_gib} GiB, {system}, Python {python}, {wrk}, load average {load_average}"
    return text.format(**found)
