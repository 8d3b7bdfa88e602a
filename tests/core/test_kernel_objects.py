"""No instruction of a newer CPU gets into code that every CPU runs.

Each kernel file is compiled for its own instruction set. Where it shared an inline function or a
template with the rest of the program (a weak symbol), the linker could keep the copy with the newer
instructions for all; a static initialiser would run it while the library loads.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import helpers
import toolchain
from toolchain import flags

KERNELS = toolchain.CSRC / "kernels"
FILES = ("baseline", "avx2", "avx512")
TOOLS = {
    "compiler": shutil.which("g++"),
    "nm": shutil.which("nm"),
    "objdump": shutil.which("objdump"),
}

needs_compiler = pytest.mark.skipif(
    not toolchain.X86_64 or not all(TOOLS.values()) or not KERNELS.is_dir(),
    reason="needs x86-64, g++, nm, objdump and the sources",
)


def call(tool: str, *arguments: str | Path) -> str:
    path = TOOLS[tool]
    assert path is not None
    return toolchain.call(path, *arguments)


def symbols(path: Path) -> list[tuple[str, str]]:
    """The kind and the name of every symbol."""
    found = re.findall(r"^[0-9a-f ]{16} (\S) (.*)$", call("nm", "-C", path), re.MULTILINE)
    assert found
    return found


@needs_compiler
def test_the_flags_are_those_that_the_design_asks_for() -> None:
    for name in FILES:
        assert "-ffp-contract=off" in flags(name)
        assert not [f for f in flags(name) if re.match("-ffast-math|-Ofast|-flto|-march", f)]
    assert "-mavx2" in flags("avx2")
    assert "-mavx512f" in flags("avx512")
    assert not [flag for flag in flags("baseline") if flag.startswith("-m")]
    text = (toolchain.ROOT / "CMakeLists.txt").read_text()
    assert "CMAKE_INTERPROCEDURAL_OPTIMIZATION OFF" in text


@needs_compiler
@pytest.mark.parametrize("name", FILES)
def test_an_object_shares_no_symbol_with_others(name: str, objects: dict[str, Path]) -> None:
    # W and w, V and v: weak; u: unique among all libraries of the process
    shared = [both for both in symbols(objects[name]) if both[0] in "WwVvu"]
    assert shared == []


@needs_compiler
@pytest.mark.parametrize("name", FILES)
def test_an_object_defines_its_table_and_nothing_else(name: str, objects: dict[str, Path]) -> None:
    visible = [both for both in symbols(objects[name]) if both[0].isupper() and both[0] != "U"]
    assert [symbol for _, symbol in visible] == [f"culpa::kernels::{name}_table"]


@needs_compiler
@pytest.mark.parametrize("name", FILES)
def test_an_object_runs_nothing_while_the_library_loads(
    name: str, objects: dict[str, Path]
) -> None:
    text = call("nm", objects[name]) + call("objdump", "-h", objects[name])
    found = [word for word in ("_GLOBAL__sub_I", ".init_array", ".ctors") if word in text]
    assert found == []


@needs_compiler
@pytest.mark.parametrize("name", FILES)
def test_an_object_has_the_registers_of_its_instruction_set(
    name: str, objects: dict[str, Path]
) -> None:
    """Else the tests above look at the wrong thing."""
    text = call("objdump", "-d", "--no-show-raw-insn", objects[name])
    widest = next((r for r in ("zmm", "ymm", "xmm") if f"%{r}" in text), None)
    assert widest == {"baseline": "xmm", "avx2": "ymm", "avx512": "zmm"}[name]


@pytest.mark.skipif(not toolchain.X86_64, reason="emulates an x86-64 CPU")
def test_an_old_cpu_imports_and_trains() -> None:
    emulator = shutil.which("qemu-x86_64") or shutil.which("qemu-x86_64-static")
    if emulator is None:
        pytest.skip("qemu-x86_64 (package qemu-user) is not installed")
    if "LD_PRELOAD" in os.environ:
        pytest.skip("the emulator does not load what LD_PRELOAD names, such as a sanitizer")
    ran = subprocess.run(
        [emulator, "-cpu", "Nehalem", *helpers.command("train_on_an_old_cpu.py")],
        capture_output=True,
        text=True,
        timeout=600,
        env={**toolchain.ENVIRONMENT, "CULPA_NUM_THREADS": "2"},
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[-1] == "it works"
