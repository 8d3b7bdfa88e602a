"""Every function of every kernel table agrees with plain loops in float64.

The loops are in tests/core/kernels/, a C++ program without a framework. It is compiled here with
the flags of CMakeLists.txt, and runs all tables that the CPU can run. For 64-bit Arm a cross
compiler and an emulator do.
"""

import os
import re
import shutil
from pathlib import Path

import pytest

import toolchain

PROGRAM = Path(__file__).parent / "kernels"
SANITIZERS = ["-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]

needs_sources = pytest.mark.skipif(
    not toolchain.CSRC.is_dir(), reason="needs the C++ sources beside the tests"
)


def find(*names: str) -> str:
    """A program, or a skip."""
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        pytest.skip(f"{names[0]} is not installed")
    return found


def program(
    compiler: str,
    folder: Path,
    kernels: tuple[str, ...] = (),
    objects: tuple[Path, ...] = (),
    extra: tuple[str, ...] = (),
) -> Path:
    """The test program, with these kernel files and with those that are compiled already."""
    sources = [toolchain.CSRC / "kernels" / f"{name}.cpp" for name in (*kernels, "dispatch")]
    built = toolchain.compile_all(compiler, [*sources, *PROGRAM.glob("*.cpp")], folder, extra)
    made = folder / "kernel_tests"
    toolchain.call(compiler, *extra, *built.values(), *objects, "-o", made)
    return made


def tables(output: str) -> list[str]:
    """Those that the program says it has checked."""
    return re.findall(r"^(\w+): [1-9]\d{3,} checks$", output, re.MULTILINE)


@needs_sources
def test_every_table_of_this_cpu(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    compiler = find("g++")
    objects = request.getfixturevalue("objects")
    made = program(compiler, tmp_path, objects=tuple(objects.values()))
    checked = tables(toolchain.call(str(made)))
    assert checked == [name for name in reversed(toolchain.FILES) if name in checked]
    assert toolchain.FILES[0] in checked


@needs_sources
@pytest.mark.skipif(toolchain.ARM_64, reason="this CPU runs them without an emulator")
def test_neon(tmp_path: Path) -> None:
    compiler = find("aarch64-linux-gnu-g++")
    emulator = find("qemu-aarch64", "qemu-aarch64-static")
    made = program(compiler, tmp_path, kernels=("neon",), extra=("-static",))
    # A CPU with the instructions that all have, and no more.
    assert tables(toolchain.call(emulator, "-cpu", "cortex-a53", made)) == ["neon"]


@needs_sources
@pytest.mark.skipif(
    "CULPA_SANITIZED" not in os.environ, reason="CULPA_SANITIZED asks for it: a minute of compiling"
)
def test_nothing_is_read_or_written_out_of_bounds(tmp_path: Path) -> None:
    made = program(find("g++"), tmp_path, kernels=toolchain.FILES, extra=tuple(SANITIZERS))
    assert toolchain.FILES[0] in tables(toolchain.call(str(made)))
