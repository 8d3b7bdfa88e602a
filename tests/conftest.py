"""What is compiled once for several test files."""

import shutil
from pathlib import Path

import pytest

import toolchain


@pytest.fixture(scope="session")
def objects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The kernel files of this architecture, as the library has them."""
    compiler = shutil.which("g++")
    assert compiler is not None
    sources = [toolchain.CSRC / "kernels" / f"{name}.cpp" for name in toolchain.FILES]
    return toolchain.compile_all(compiler, sources, tmp_path_factory.mktemp("objects"))
