"""How much memory this process holds, and how much it can still take.

It may be limited by the memory of the machine, which other processes use too; by control groups, of version 1 or 2, at
any level of their hierarchy; by the limit of its address space (`ulimit -v`); or by strict overcommit.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

_ROOT = Path("/")
_STRICT_OVERCOMMIT = "2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Available:
    """Memory that this process can still take."""

    num_bytes: int
    limit: str
    """What limits it, as the subject of a sentence."""


def available_memory(root: Path = _ROOT) -> Available | None:
    """The memory under the tightest limit; None: unknown. `root` is the folder of /proc and /sys."""
    limits = [*_machine(root), *_control_groups(root), *_address_space(root)]
    return min(limits, key=lambda limit: limit.num_bytes, default=None)


def resident_memory(root: Path = _ROOT) -> int:
    """Bytes that this process holds in memory; 0: unknown. Takes about 1 ms per GiB.

    The figure in `status` may lag behind by some pages per processor.
    """
    rollup = root / "proc/self/smaps_rollup"
    return _sizes(rollup if rollup.is_file() else root / "proc/self/status").get("Rss", 0) or _status(root, "VmRSS")


def peak_memory(root: Path = _ROOT) -> int:
    """Largest number of bytes that this process has held; 0: unknown."""
    return _status(root, "VmHWM")


def size_text(num_bytes: float) -> str:
    """A size for a log line or an error, such as `512 MiB` or `1.25 GiB`."""
    mib = num_bytes / 2**20
    return f"{mib / 1024:,.2f} GiB" if mib >= 1024 else f"{mib:,.0f} MiB" if mib >= 10 else f"{mib:.1f} MiB"


def _machine(root: Path) -> Iterator[Available]:
    sizes = _sizes(root / "proc/meminfo")
    if "MemAvailable" in sizes:
        yield Available(num_bytes=sizes["MemAvailable"], limit="the memory of the machine")
    strict = _text(root / "proc/sys/vm/overcommit_memory") == _STRICT_OVERCOMMIT
    if strict and {"CommitLimit", "Committed_AS"} <= sizes.keys():
        yield Available(
            num_bytes=max(sizes["CommitLimit"] - sizes["Committed_AS"], 0),
            limit="the commit limit of the machine (vm.overcommit_memory=2)",
        )


def _address_space(root: Path) -> Iterator[Available]:
    for line in _text(root / "proc/self/limits").splitlines():
        for name, used, limit in (
            ("Max address space", "VmSize", "the limit of address space (ulimit -v)"),
            ("Max data size", "VmData", "the limit of data size (ulimit -d)"),
        ):
            if line.startswith(name) and (soft := line.removeprefix(name).split()[0]).isdecimal():
                yield Available(num_bytes=max(int(soft) - _status(root, used), 0), limit=limit)


def _control_groups(root: Path) -> Iterator[Available]:
    """The limits of this process's control groups and their ancestors, as far as they are mounted here."""
    own = dict(_own_groups(root))
    for line in _text(root / "proc/self/mountinfo").splitlines():
        fields, _, kind = line.partition(" - ")
        group_root, mount_point = fields.split()[3:5]
        file_system, *_, options = kind.split()
        if file_system == "cgroup2" and "" in own:
            names = _V2
            group = own[""]
        elif file_system == "cgroup" and "memory" in options.split(",") and "memory" in own:
            names = _V1
            group = own["memory"]
        else:
            continue
        for folder in _ancestors(root / mount_point.lstrip("/"), group_root, group):
            with suppress(OSError, ValueError):
                yield from _group_limit(folder, names)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Names:
    """File names of a version of control groups."""

    limits: tuple[str, ...]
    used: str
    prefix: str
    """Of the entries of memory.stat that include descendants."""


_V2 = _Names(limits=("memory.max", "memory.high"), used="memory.current", prefix="")
_V1 = _Names(limits=("memory.limit_in_bytes",), used="memory.usage_in_bytes", prefix="total_")


def _own_groups(root: Path) -> Iterator[tuple[str, str]]:
    """The path of each control group of this process by controller; the key of version 2 is empty."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        yield from ((controller, path) for controller in controllers.split(","))


def _ancestors(mount_point: Path, group_root: str, group: str) -> Iterator[Path]:
    """The folder of a control group and those above it. A container may see its own group alone, as the mount point."""
    path = PurePosixPath(group)
    if path.is_relative_to(group_root):
        path = path.relative_to(group_root)
    folder = mount_point.joinpath(*(part for part in path.parts if part not in ("/", "..")))
    if not folder.is_dir():
        folder = mount_point
    yield folder
    while folder != mount_point:
        folder = folder.parent
        yield folder


def _group_limit(folder: Path, names: _Names) -> Iterator[Available]:
    limits = [int(text) for name in names.limits if (text := _text(folder / name)).isdecimal()]
    used = _text(folder / names.used)
    if not limits or not used.isdecimal():
        return
    stat = dict(line.split() for line in _text(folder / "memory.stat").splitlines())
    cached, mapped = (
        sum(int(stat.get(names.prefix + name, 0)) for name in entries)
        for entries in (("inactive_file", "active_file"), ("file_mapped" if names is _V2 else "mapped_file",))
    )
    in_use = int(used) - max(cached - mapped, 0)  # the kernel drops cached files that are not mapped
    yield Available(num_bytes=max(min(limits) - in_use, 0), limit="the memory limit of the control group (container)")


def _status(root: Path, name: str) -> int:
    return _sizes(root / "proc/self/status").get(name, 0)


def _sizes(path: Path) -> Mapping[str, int]:
    """The entries `NAME: NUMBER kB` of a file, in bytes."""
    found: dict[str, int] = {}
    for line in _text(path).splitlines():
        name, colon, value = line.partition(":")
        if colon and value.endswith(" kB"):
            found[name] = int(value.split()[0]) * 1024
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
