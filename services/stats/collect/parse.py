"""From the probe's raw sections to a sample. Pure; a section that makes no sense leaves its figures unknown."""

from __future__ import annotations

import math
import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from shared.domain.lines import some_lines
from shared.domain.stats import Mount, Sample, human_duration, percent
from shared.domain.text import clean
from shared.errors import Transient

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_KIB = 1024
_SECTOR = 512
_BIGGEST = 2**63 - 1
_TEXT = 200
_VIRTUAL_LINKS = re.compile(r"^(lo|veth|docker|br-|virbr|cni|flannel|cali|dummy|ifb|bond|tun|tap|wg)|\.")
_WHOLE_DISKS = re.compile(r"^(sd[a-z]+|vd[a-z]+|xvd[a-z]+|hd[a-z]+|nvme\d+n\d+|mmcblk\d+|dasd[a-z]+)$")
_HOTTEST = 150.0
_DIGITS = 20
_LONGEST = 1e9
_LONGEST_ANSWER = 4 * 1024 * 1024
"""Two readings of a thousand processors and a thousand disks have room in it; of each section `some_lines` are read."""
_LONGEST_LINE = 2500
_LONGEST_POINT = 1024
_ESCAPED = re.compile(r"\\([0-7]{3})")
_WORD = re.compile(r"[^ ]+")
_DF_WORDS = tuple(map(re.compile, (r"\d+|-", r"-?\d+|-", r"-?\d+|-", r"-?\d+%|-", r"/.*")))
_MOST_LINES = 200
_DISK_FIELDS = 14


def parse_sample(output: str, *, asked_at: datetime, answered_at: datetime) -> Sample:
    """Read the probe's output; Transient if it is not the probe's, or broke off.

    `asked_at` and `answered_at` are our clock before and after: the server's own clock is only compared with them.
    """
    sections = _sections(output) if len(output) <= _LONGEST_ANSWER else {}
    if "end" not in sections or "cpu0" not in sections:
        message = "the server's answer is not a probe's, or broke off"
        remedy = "log in by hand: a shell that prints or asks something at start-up gets in the way"
        raise Transient(message, code="server_garbled", remedy=remedy)
    text = sections.get
    os = _assignments(text("os", ""))
    kernel, machine, host = _padded(text("uname", "").splitlines(), 3)
    loads = [_float(word) for word in _padded(text("load", "").split(), 3)]
    cores = _cores(text("cpu1", ""))
    root, mounts = _mounts(sections)
    received, sent = _network(text("net", ""))
    read, written = _disks(text("disks", ""))
    return Sample(
        collected_at=answered_at,
        os_distribution=_short(os.get("NAME")),
        os_version=_short(os.get("VERSION_ID") or os.get("BUILD_ID")),
        kernel_version=_short(kernel),
        hostname=_short(host),
        architecture=_short(machine),
        cpu_cores=cores,
        cpu_model=_short(text("cpuinfo", "").strip().partition(":")[2]),
        cpu_load_1=loads[0],
        cpu_load_5=loads[1],
        cpu_load_15=loads[2],
        load_per_core=round(loads[0] / cores, 3) if loads[0] is not None and cores else None,
        cpu_usage_percent=_cpu_usage(text("cpu0", ""), text("cpu1", "")),
        **_memory(text("memory", "")),
        **_root_disk(root),
        **_uptime(text("uptime", ""), answered_at),
        ip_address=_short(text("address", "").strip()),
        network_received_bytes=received,
        network_sent_bytes=sent,
        disk_read_bytes=read,
        disk_written_bytes=written,
        pressure_cpu=_pressure(text("pressure_cpu", "")),
        pressure_memory=_pressure(text("pressure_memory", "")),
        pressure_io=_pressure(text("pressure_io", "")),
        temperature_celsius=_temperature(text("temperature", "")),
        reboot_pending={"yes": True, "no": False}.get(text("reboot", "").strip()),
        failed_units=_failed_units(text("units", "")),
        clock_offset_seconds=_clock_offset(sections, asked_at, answered_at),
        mounts=mounts,
    )


def _sections(output: str) -> dict[str, str]:
    """Return the sections by name; what comes in several parts, as one file system after the other, is joined."""
    parts = re.split(r"^@([a-z0-9_]+)\n", output, flags=re.MULTILINE)
    found: dict[str, list[str]] = {}
    for name, text in zip(parts[1::2], parts[2::2], strict=False):
        found.setdefault(name, []).append(text)
    return {name: "\n".join(some_lines("".join(texts))) for name, texts in found.items()}


def _assignments(text: str) -> dict[str, str]:
    pairs = (line.partition("=") for line in text.splitlines())
    return {name: value.strip().strip("\"'") for name, _, value in pairs}


def _padded(words: list[str], count: int) -> list[str]:
    return (words + [""] * count)[:count]


def _short(text: str | None) -> str | None:
    printable = "".join(letter for letter in (text or "").strip()[: 2 * _TEXT] if letter.isprintable())
    return printable[:_TEXT] or None


def _float(word: str) -> float | None:
    try:
        value = float(word)
    except ValueError:
        return None
    return value if math.isfinite(value) and abs(value) < _BIGGEST else None


def _count(word: str) -> int | None:
    return int(word) if word.isascii() and word.isdigit() and len(word) < _DIGITS and int(word) <= _BIGGEST else None


def _cores(stat: str) -> int | None:
    return len(re.findall(r"^cpu\d+ ", stat, re.MULTILINE)) or None


def _cpu_usage(before: str, after: str) -> float | None:
    """Return the busy share between two readings of /proc/stat; guest time is part of user time already."""
    first, second = _jiffies(before), _jiffies(after)
    if first is None or second is None:
        return None
    deltas = [b - a for a, b in zip(first, second, strict=True)]
    idle = deltas[3] + deltas[4]
    return percent(sum(deltas) - idle, sum(deltas))


def _jiffies(stat: str) -> list[int] | None:
    found = re.search(r"^cpu +(\d[\d ]*)$", stat, re.MULTILINE)
    values = [_count(word) for word in _padded(found[1].split(), 8)] if found else []
    counts = [value or 0 for value in values]
    return counts if counts and values[4] is not None else None


def _memory(text: str) -> dict[str, Any]:
    found = dict(re.findall(r"^(\w+): +(\d{1,18}) kB$", text, re.MULTILINE))
    kib = {name: int(value) for name, value in found.items()}
    total, free, available = kib.get("MemTotal"), kib.get("MemFree"), kib.get("MemAvailable")
    if available is None and free is not None:  # kernels before 3.14
        available = free + kib.get("Buffers", 0) + kib.get("Cached", 0)
    used = total - available if total is not None and available is not None else None
    swap, swap_free = kib.get("SwapTotal"), kib.get("SwapFree")
    swap_used = swap - swap_free if swap is not None and swap_free is not None else None
    return {
        "memory_total_mb": _mib(total),
        "memory_used_mb": _mib(used),
        "memory_free_mb": _mib(free),
        "memory_available_mb": _mib(available),
        "memory_percent": percent(used, total) if used is not None and total else None,
        "swap_total_mb": _mib(swap),
        "swap_used_mb": _mib(swap_used),
        "swap_percent": _swap_percent(swap_used, swap),
    }


def _swap_percent(used: int | None, total: int | None) -> float | None:
    if used is None or total is None:
        return None
    return percent(used, total) if total else 0.0  # no swap is not used: known, and zero


def _mib(kib: int | None) -> int | None:
    return None if kib is None else round(max(0, kib) / _KIB)


def _mounts(sections: Mapping[str, str]) -> tuple[Mount | None, tuple[Mount, ...]]:
    """Return `/` and every other local mount; `/` is known even where it is no device (a container's overlay)."""
    types = dict(map(_device_and_type, sections.get("types", "").splitlines()))
    inodes = {point: counts for _, counts, point in _df(sections.get("inodes", ""))}
    found: dict[str, Mount] = {}
    for device, (total, used, free), point in _df(sections.get("bytes", "")):
        if total is None or used is None or free is None or max(total, used, free) > _BIGGEST // _KIB:
            continue  # more than any column holds is no figure, and costs this mount's own alone
        inodes_total, inodes_used, _ = inodes.get(point, (None, None, None))
        has_inodes = bool(inodes_total) and inodes_used is not None
        found[point] = Mount(
            mount_point=point,
            device=device,
            fs_type=types.get(device),
            total_bytes=total * _KIB,
            used_bytes=used * _KIB,
            free_bytes=free * _KIB,
            percent=percent(used, used + free),
            inodes_total=inodes_total if has_inodes else None,
            inodes_used=inodes_used if has_inodes else None,
            inodes_percent=percent(inodes_used or 0, inodes_total or 0) if has_inodes else None,
        )
    root = found.pop("/", None)
    return root, tuple(mount for mount in found.values() if mount.total_bytes > 0)


def _df(text: str) -> list[tuple[str, tuple[int | None, int | None, int | None], str]]:
    rows: list[tuple[str, tuple[int | None, int | None, int | None], str]] = []
    for line in text.split("\n", _MOST_LINES)[:_MOST_LINES]:
        if len(line) <= _LONGEST_LINE and (found := _df_words(line)):
            total, used, free, _, point = found
            counts = _count(total[0]), _count(used[0]), _count(free[0].lstrip("-"))
            device = line[: total.start()].strip()
            rows.append((clean(device, _TEXT), counts, clean(line[point.start() :], _LONGEST_POINT)))
    return rows


def _df_words(line: str) -> list[re.Match[str]] | None:
    """Find the four figures and the mount point; device and mount point may hold spaces. In linear time."""
    words = list(_WORD.finditer(line)) if " /" in line else []
    for first in range(1, len(words) - len(_DF_WORDS) + 1):
        five = words[first : first + len(_DF_WORDS)]
        if five[-1][0].startswith("/") and all(
            kind.fullmatch(word[0]) for kind, word in zip(_DF_WORDS, five, strict=True)
        ):
            return five
    return None


def _device_and_type(line: str) -> tuple[str, str | None]:
    """Read a device, as /proc/mounts escapes it, and its file system's type."""
    device, _, kind = line.partition(" ")
    device = _ESCAPED.sub(lambda found: chr(int(found[1], 8)), device)
    return clean(device, _TEXT), None if kind == "-" else _short(kind)


def _root_disk(root: Mount | None) -> dict[str, Any]:
    if root is None:
        return {}
    gib = 1024**3
    return {
        "disk_total_gb": round(root.total_bytes / gib, 2),
        "disk_used_gb": round(root.used_bytes / gib, 2),
        "disk_free_gb": round(root.free_bytes / gib, 2),
        "disk_percent": root.percent,
        "disk_mount_point": "/",
        "inodes_percent": root.inodes_percent,
    }


def _uptime(text: str, now: datetime) -> dict[str, Any]:
    seconds = _float(text.partition(" ")[0])
    if seconds is None or not 0 <= seconds < _LONGEST:
        return {}
    whole = int(seconds)
    return {"uptime_seconds": whole, "uptime_human": human_duration(whole), "boot_time": now - timedelta(seconds=whole)}


def _network(text: str) -> tuple[int | None, int | None]:
    rows = re.findall(r"^ *([^\s:]+): *(\d+)(?: +\d+){7} +(\d+)", text, re.MULTILINE)
    real = [(_count(received), _count(sent)) for name, received, sent in rows if not _VIRTUAL_LINKS.search(name)]
    if not real:
        return None, None
    return _sum(received for received, _ in real), _sum(sent for _, sent in real)


def _disks(text: str) -> tuple[int | None, int | None]:
    words = [line.split() for line in text.splitlines()]
    disks = [w for w in words if len(w) >= _DISK_FIELDS and _WHOLE_DISKS.match(w[2])]
    if not disks:
        return None, None
    read, written = _sum(_count(w[5]) for w in disks), _sum(_count(w[9]) for w in disks)
    return (None if read is None else read * _SECTOR), (None if written is None else written * _SECTOR)


def _sum(values: Iterable[int | None]) -> int | None:
    total = sum(value for value in values if value is not None)
    return total if total <= _BIGGEST // _SECTOR else None


def _pressure(text: str) -> float | None:
    found = re.search(r"^some .*\bavg60=(\d+\.\d+)", text, re.MULTILINE)
    return min(100.0, float(found[1])) if found else None


def _temperature(text: str) -> float | None:
    """Return the hottest sensor that says something believable; they speak in thousandths of a degree."""
    values = [_float(line.strip()) for line in text.splitlines()]
    degrees = [value / 1000 for value in values if value is not None]
    believable = [value for value in degrees if 0 < value < _HOTTEST]
    return max(believable, default=None)


def _failed_units(text: str) -> int | None:
    """Count the lines before the closing dot; without it the question was not answered."""
    lines = [line for line in text.splitlines() if line.strip()]
    return len(lines) - 1 if lines and lines[-1] == "." else None


def _clock_offset(sections: Mapping[str, str], asked_at: datetime, answered_at: datetime) -> float | None:
    """Return the server's clock minus ours as NTP does it: the way there and the way back cancel out."""
    first, second = (_float(sections.get(name, "").strip()) for name in ("clock0", "clock1"))
    if first is None or second is None:
        return None
    offset = ((first - asked_at.timestamp()) + (second - answered_at.timestamp())) / 2
    return round(offset, 3)
