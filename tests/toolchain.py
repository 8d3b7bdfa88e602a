"""The C++ sources beside the tests, compiled piece by piece with the flags of CMakeLists.txt."""

import os
import platform
import re
import subprocess
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[1]
CSRC = ROOT / "csrc"
X86_64 = platform.machine().lower() in ("x86_64", "amd64")
ARM_64 = platform.machine().lower() in ("aarch64", "arm64")
# The kernel files that hold a table for this CPU's architecture.
FILES = ("baseline", "avx2", "avx512") if X86_64 else ("neon",)
# A sanitizer that is loaded into this process has no business in the compiler's.
ENVIRONMENT = {key: value for key, value in os.environ.items() if key != "LD_PRELOAD"}


def flags(name: str) -> list[str]:
    """What CMakeLists.txt compiles a kernel file with."""
    text = re.sub(r"#.*", "", (ROOT / "CMakeLists.txt").read_text())
    every = re.search(r"target_compile_options\(_core PRIVATE([^)]*)\)", text)
    assert every, "CMakeLists.txt sets no options for _core"
    found = re.sub(r"\$<\$<CONFIG:Release>:([^>]*)>", r"\1", every[1]).split()
    assert "-O3" in found
    assert not [flag for flag in found if "$" in flag], "a condition that this test cannot read"
    standard = re.search(r"CMAKE_CXX_STANDARD (\d+)", text)
    assert standard
    own = re.search(rf'kernels/{name}\.cpp PROPERTIES\s+COMPILE_OPTIONS "([^"]*)"', text)
    assert own or not name.startswith("avx")
    return [
        f"-std=c++{standard[1]}",
        "-DNDEBUG",
        "-fPIC",
        "-fvisibility=hidden",
        "-fvisibility-inlines-hidden",
        *found,
        *(own[1].split(";") if own else []),
    ]


def call(tool: str, *arguments: str | Path) -> str:
    """Run a tool that must succeed; return what it prints."""
    command = [tool, *map(str, arguments)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=600, env=ENVIRONMENT)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def compile_all(
    compiler: str, sources: Iterable[Path], folder: Path, extra: Sequence[str] = ()
) -> dict[str, Path]:
    """Compile each source into an object in `folder`; return the objects by the sources' names."""

    def build(source: Path) -> tuple[str, Path]:
        made = folder / f"{source.stem}.o"
        options = [*flags(source.stem), *extra, "-I", CSRC]
        call(compiler, *options, "-c", source, "-o", made)
        return source.stem, made

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return dict(pool.map(build, sources))
