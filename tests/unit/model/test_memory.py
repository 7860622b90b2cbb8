"""The memory that is available, read from files of /proc and /sys."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from onward_server.model.memory import available_memory, peak_memory, resident_memory, size_text

MIB = 2**20
GIB = 2**30
UNLIMITED_V1 = 9_223_372_036_854_771_712


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def machine(root: Path, files: dict[str, str] | None = None, *, available: int = 8 * GIB) -> Path:
    return write(root, {"proc/meminfo": f"MemTotal: 1 kB\nMemAvailable:  {available // 1024} kB\n", **(files or {})})


def group_v2(root: Path, path: str, *, limit: str, used: int, cached: int = 0, mapped: int = 0) -> None:
    folder = f"sys/fs/cgroup{path}"
    stat = f"anon 1\ninactive_file {cached}\nactive_file 0\nfile_mapped {mapped}\n"
    write(
        root,
        {f"{folder}/memory.max": limit, f"{folder}/memory.current": str(used), f"{folder}/memory.stat": stat},
    )


def mounted_v2(root: Path, *, own: str, mount_root: str = "/") -> Path:
    mount = f"30 23 0:26 {mount_root} /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
    return machine(root, {"proc/self/cgroup": f"0::{own}\n", "proc/self/mountinfo": mount})


def available(root: Path) -> tuple[int, str]:
    found = available_memory(root)
    assert found is not None
    return found.num_bytes, found.limit


def test_without_a_limit_the_memory_of_the_machine_counts_other_processes(tmp_path: Path) -> None:
    assert available(machine(tmp_path, available=3 * GIB)) == (3 * GIB, "the memory of the machine")


def test_without_proc_the_memory_is_unknown(tmp_path: Path) -> None:
    assert available_memory(tmp_path) is None
    assert (resident_memory(tmp_path), peak_memory(tmp_path)) == (0, 0)


def test_a_container_has_what_its_group_leaves(tmp_path: Path) -> None:
    root = mounted_v2(tmp_path, own="/")
    group_v2(root, "", limit=str(512 * MIB), used=200 * MIB)
    assert available(root) == (312 * MIB, "the memory limit of the control group (container)")


def test_files_that_the_kernel_can_drop_are_available_but_mapped_ones_are_not(tmp_path: Path) -> None:
    root = mounted_v2(tmp_path, own="/")
    group_v2(root, "", limit=str(512 * MIB), used=400 * MIB, cached=300 * MIB, mapped=100 * MIB)
    assert available(root)[0] == (512 - 400 + 200) * MIB


def test_the_tightest_group_of_the_hierarchy_counts(tmp_path: Path) -> None:
    root = mounted_v2(tmp_path, own="/system.slice/onward.service")
    group_v2(root, "/system.slice/onward.service", limit="max", used=100 * MIB)
    group_v2(root, "/system.slice", limit=str(GIB), used=900 * MIB)
    assert available(root)[0] == 124 * MIB


def test_memory_high_limits_too_because_the_kernel_slows_down_what_exceeds_it(tmp_path: Path) -> None:
    root = mounted_v2(tmp_path, own="/")
    group_v2(root, "", limit="max", used=100 * MIB)
    write(root, {"sys/fs/cgroup/memory.high": str(300 * MIB)})
    assert available(root)[0] == 200 * MIB


@pytest.mark.parametrize(
    ("own", "mount_root"),
    [("/docker/4ab", "/docker/4ab"), ("/docker/4ab", "/"), ("/../../elsewhere", "/"), ("/not/visible", "/")],
)
def test_a_container_finds_its_own_group_at_the_mount_point(tmp_path: Path, own: str, mount_root: str) -> None:
    root = mounted_v2(tmp_path, own=own, mount_root=mount_root)
    group_v2(root, "", limit=str(512 * MIB), used=500 * MIB)
    assert available(root)[0] == 12 * MIB


def test_groups_of_version_1_count_up_the_hierarchy(tmp_path: Path) -> None:
    root = machine(
        tmp_path,
        {
            "proc/self/cgroup": "5:cpu,cpuacct:/\n4:memory:/jobs/one\n0::/\n",
            "proc/self/mountinfo": "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
            "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n",
        },
    )
    for folder, limit, used in (("memory/jobs/one", UNLIMITED_V1, 1), ("memory/jobs", 600 * MIB, 550 * MIB)):
        stat = f"inactive_file 7\ntotal_inactive_file {30 * MIB}\ntotal_active_file 0\ntotal_mapped_file {10 * MIB}\n"
        write(
            root,
            {
                f"sys/fs/cgroup/{folder}/memory.limit_in_bytes": str(limit),
                f"sys/fs/cgroup/{folder}/memory.usage_in_bytes": str(used),
                f"sys/fs/cgroup/{folder}/memory.stat": stat,
            },
        )
    assert available(root)[0] == 70 * MIB


def test_the_limit_of_address_space_counts_what_is_taken(tmp_path: Path) -> None:
    limits = "Limit  Soft Limit  Hard Limit  Units\nMax address space   2147483648   unlimited   bytes\n"
    root = machine(tmp_path, {"proc/self/limits": limits, "proc/self/status": f"VmSize:\t{GIB // 1024} kB\n"})
    assert available(root) == (GIB, "the limit of address space (ulimit -v)")


def test_strict_overcommit_leaves_what_is_not_committed(tmp_path: Path) -> None:
    meminfo = "MemAvailable: 9000000 kB\nCommitLimit: 3072 kB\nCommitted_AS: 1024 kB\n"
    root = write(tmp_path, {"proc/meminfo": meminfo, "proc/sys/vm/overcommit_memory": "2\n"})
    assert available(root)[0] == 2 * MIB
    write(root, {"proc/sys/vm/overcommit_memory": "0\n"})
    assert available(root)[0] == 9_000_000 * 1024


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_real_limit_of_address_space_is_found() -> None:
    script = (
        "import resource; from onward_server.model.memory import available_memory; "
        f"resource.setrlimit(resource.RLIMIT_AS, ({GIB}, {GIB})); found = available_memory(); "
        "print(found.num_bytes, found.limit)"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    num_bytes, _, limit = ran.stdout.strip().partition(" ")
    assert limit == "the limit of address space (ulimit -v)"
    assert GIB // 2 < int(num_bytes) < GIB


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_memory_of_this_process_agrees_with_what_the_kernel_accounts() -> None:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    assert 0 < resident_memory() <= peak + 8 * MIB
    assert abs(peak_memory() - peak) < 8 * MIB


def test_sizes_are_written_with_a_unit() -> None:
    assert [size_text(size) for size in (0, 1_500_000, 512 * MIB, 1.25 * GIB, 2048 * GIB)] == [
        "0.0 MiB",
        "1.4 MiB",
        "512 MiB",
        "1.25 GiB",
        "2,048.00 GiB",
    ]
