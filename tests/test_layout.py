"""The house has floors: a room imports rooms below it, and files of its own.

Type hints and late imports count. Rooms are the folders of the package and its public files.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import culpa

PACKAGE = Path(culpa.__file__).parent

FLOORS: list[set[str]] = [
    {"_aliases", "_checks", "_core", "_renamed", "_terminal", "_version"},
    {"datasets", "machine", "parts"},
    {"data"},
    {"network"},
    {"answers", "formats"},
    {"training"},
    {"sequential"},
    {"many"},
    {"studies"},
    {"pages", "plots"},
    {"sklearn"},
    {"bench", "demo"},
    {"cli"},
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
ALLOWED: set[tuple[str, str]] = set()  # importing file, imported room: it may only shrink
MOST_LINES = 500
LONG = {"sequential.py"}  # docstrings


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(tree: ast.AST) -> Iterator[str]:
    """Yield the room of each import of this package, those inside functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            inside = node.module == "culpa"
            names = [f"culpa.{alias.name}" for alias in node.names] if inside else [node.module]
        elif isinstance(node, ast.ImportFrom):
            raise AssertionError(f"line {node.lineno}: expected imports by their full name")
        else:
            continue
        for name in filter(None, names):
            first, *rest = name.split(".")
            if first == "culpa":
                yield rest[0] if rest else "__init__"


FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")
FILES += sorted(path for path in PACKAGE.rglob("__init__.py") if path.parent != PACKAGE)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_downward(path: Path) -> None:
    own = room_of(path)
    for room in imported_rooms(ast.parse(path.read_text())):
        if (
            room == own
            or FLOOR.get(own) == FLOOR.get(room) == 0
            or (path.relative_to(PACKAGE).as_posix(), room) in ALLOWED
        ):
            continue
        assert room in FLOOR, f"{room} is on no floor"
        assert FLOOR[room] < FLOOR[own], f"{own} imports {room}"


def test_every_allowance_is_used() -> None:
    for name, room in ALLOWED:
        assert room in set(imported_rooms(ast.parse((PACKAGE / name).read_text())))


def test_an_upward_import_would_be_seen() -> None:
    planted = """
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from culpa.sequential import Sequential
def late():
    from culpa import many
    import culpa.cli
"""
    assert list(imported_rooms(ast.parse(planted))) == ["sequential", "many", "cli"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_fits_in_a_head(path: Path) -> None:
    if path.name not in LONG:
        assert len(path.read_text().splitlines()) <= MOST_LINES


CORE = Path(__file__).parents[1] / "csrc"
CORE_FILES = sorted(path for path in CORE.rglob("*.*") if path.suffix in (".h", ".cpp", ".inc"))


@pytest.mark.parametrize("path", CORE_FILES, ids=lambda path: str(path.relative_to(CORE)))
def test_a_file_of_the_core_fits_in_a_head(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 350
