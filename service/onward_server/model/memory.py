"""How much memory this process can still allocate."""

from pathlib import Path

from onward_server.errors import StartupError

_MEMINFO = Path("/proc/meminfo")
_CGROUP_MEMORY = Path("/sys/fs/cgroup")


def require_memory(what: str, needed: int, advice: str) -> None:
    available = available_memory()
    if available is not None and needed > available:
        raise StartupError(
            f"{what} need {gib(needed)} of memory, but only {gib(available)} is available: "
            f"{gib(needed - available)} is missing{advice}"
        )


def available_memory() -> int | None:
    """Bytes that this process can still allocate; None: unknown.

    They follow from the kernel's figures and the limit of the process's control group.
    """
    available: list[int] = []
    if _MEMINFO.is_file():
        fields = dict(line.split(":", 1) for line in _MEMINFO.read_text(encoding="ascii").splitlines())
        available.append(int(fields["MemAvailable"].split()[0]) * 1024)
    limit, used = _CGROUP_MEMORY / "memory.max", _CGROUP_MEMORY / "memory.current"
    if limit.is_file() and used.is_file() and (text := limit.read_text(encoding="ascii").strip()) != "max":
        available.append(int(text) - int(used.read_text(encoding="ascii")))
    return min(available, default=None)


def gib(num_bytes: int) -> str:
    return f"{num_bytes / 2**30:.2f} GiB"
