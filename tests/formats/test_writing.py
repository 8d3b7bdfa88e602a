"""Files that are replaced keep their permissions, their links and their names; nothing is left."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

import culpa
import helpers
from culpa.data import files as writing

posix = pytest.mark.skipif(os.name != "posix", reason="POSIX permissions, links and locks")
root = pytest.mark.skipif(
    os.name != "posix" or os.geteuid() != 0, reason="only root may give files away"
)


def model(seed: int = 0) -> culpa.Sequential:
    return culpa.Sequential([culpa.Dense(2)], loss="mse", input_size=3, seed=seed)


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


# Permissions


@posix
@pytest.mark.parametrize("kept", [0o600, 0o640, 0o444, 0o666, 0o755])
def test_a_file_that_is_saved_over_keeps_its_mode(kept: int, tmp_path: Path) -> None:
    path = tmp_path / "m"
    model(1).save(path)
    path.chmod(kept)
    model(2).save(path)
    assert mode(path) == kept
    assert culpa.load(path).seed == 2
    assert names(tmp_path) == ["m"]


@posix
def test_a_private_file_is_never_readable_while_it_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, seen = tmp_path / "m", set()
    path.touch(0o600)
    real = writing._resemble

    def look(temporary: str, *rest: Any) -> None:
        seen.add(mode(Path(temporary)))
        real(temporary, *rest)

    monkeypatch.setattr(writing, "_resemble", look)
    with writing.replacing(path) as file:
        file.write(b"secret")
        file.flush()
        seen |= {mode(entry) for entry in tmp_path.iterdir()}
    assert seen == {0o600}


@posix
@pytest.mark.parametrize("mask", [0o022, 0o027, 0o077, 0o002])
def test_a_new_file_has_the_mode_that_the_umask_leaves(mask: int, tmp_path: Path) -> None:
    before = os.umask(mask)
    try:
        model().save(tmp_path / "m")
    finally:
        os.umask(before)
    assert mode(tmp_path / "m") == 0o666 & ~mask


@posix
def test_the_umask_of_the_process_is_never_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It belongs to all threads: a file that another creates meanwhile would be open to all."""

    def refuse(_: int) -> int:
        raise AssertionError("the umask is not ours")

    monkeypatch.setattr(os, "umask", refuse)
    model().save(tmp_path / "m")


@root
def test_owner_and_group_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "m"
    model(1).save(path)
    os.chown(path, 1234, 2345)
    path.chmod(0o640)
    model(2).save(path)
    assert (path.stat().st_uid, path.stat().st_gid, mode(path)) == (1234, 2345, 0o640)


@posix
def test_a_group_that_cannot_be_kept_passes_no_rights_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m"
    model(1).save(path)
    path.chmod(0o664)
    real = os.stat(path)

    def refuse(*_: Any) -> None:
        raise PermissionError("not yours")

    class OfAnotherGroup:
        st_uid, st_gid, st_mode = real.st_uid, real.st_gid + 1, real.st_mode

    def other(at: Any, *rest: Any, **options: Any) -> Any:
        return OfAnotherGroup if at == path else stat_of(at, *rest, **options)

    stat_of = os.stat
    monkeypatch.setattr(os, "chown", refuse)
    with monkeypatch.context() as patched:
        patched.setattr(os, "stat", other)
        model(2).save(path)
    assert mode(path) == 0o644


# Links, pipes and devices


@posix
@pytest.mark.parametrize("relative", [False, True])
def test_a_symbolic_link_stays_and_what_it_leads_to_is_replaced(
    relative: bool, tmp_path: Path
) -> None:
    (tmp_path / "store").mkdir()
    target, link = tmp_path / "store" / "v1", tmp_path / "latest"
    model(1).save(target)
    target.chmod(0o600)
    link.symlink_to(Path("store", "v1") if relative else target)
    model(2).save(link)
    assert link.is_symlink()
    assert culpa.load(target).seed == culpa.load(link).seed == 2
    assert mode(target) == 0o600
    assert names(tmp_path) == ["latest", "store"]
    assert names(tmp_path / "store") == ["v1"]


@posix
def test_a_link_that_leads_to_no_file_yet_gets_one(tmp_path: Path) -> None:
    (tmp_path / "latest").symlink_to("v1")
    model(2).save(tmp_path / "latest")
    assert (tmp_path / "latest").is_symlink()
    assert culpa.load(tmp_path / "v1").seed == 2


@posix
def test_links_in_a_circle_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="symbolic links"):
        model().save(tmp_path / "a")
    assert names(tmp_path) == ["a", "b"]


@posix
def test_a_pipe_gets_the_bytes_and_stays_a_pipe(tmp_path: Path) -> None:
    pipe, content = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: content.append(pipe.read_bytes()), daemon=True)
    reader.start()
    model(3).save(pipe)
    reader.join(60)
    (tmp_path / "m").write_bytes(content[0])
    assert culpa.load(tmp_path / "m").seed == 3
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@posix
def test_a_device_stays_a_device() -> None:
    model().save("/dev/null")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


# Names


@pytest.mark.parametrize("letter", ["m", "ü"])
def test_a_name_as_long_as_may_be_is_saved(letter: str, tmp_path: Path) -> None:
    path = tmp_path / (letter * (255 // len(letter.encode())))
    model(1).save(path)
    model(2).save(path)
    assert culpa.load(path).seed == 2


class OnTheWay:
    def __init__(self, path: Any) -> None:
        self.path = path

    def __fspath__(self) -> Any:
        return self.path


def doors(path: Any) -> dict[str, Any]:
    return {
        "save": lambda: model().save(path),
        "load": lambda: culpa.load(path),
        "read_idx": lambda: culpa.datasets.read_idx(path),
        "fashion_mnist": lambda: culpa.datasets.fashion_mnist(path),
    }


@pytest.mark.parametrize("door", doors(None))
def test_what_is_no_path_is_named(door: str, tmp_path: Path) -> None:
    argument = "folder" if door == "fashion_mnist" else "path"
    with open(tmp_path / "open", "wb") as file:
        for bad, says in (
            (b"path", "use os.fsdecode"),
            (OnTheWay(b"path"), "use os.fsdecode"),
            (file, "pass the name of the file"),
            (3, "got 3"),
            ([1], "got [1]"),
        ):
            with pytest.raises(TypeError) as caught:
                doors(bad)[door]()
            assert str(caught.value).startswith(f"{argument}: expected a path as a string")
            assert says in str(caught.value)
    for bad in ("", "a\0b"):
        with pytest.raises(ValueError, match=f"^{argument}: expected a path, got"):
            doors(bad)[door]()
    assert names(tmp_path) == ["open"]


def test_an_object_that_is_a_path_is_taken(tmp_path: Path) -> None:
    model(5).save(OnTheWay(str(tmp_path / "m")))
    assert culpa.load(OnTheWay(str(tmp_path / "m"))).seed == 5


def test_a_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match=r"^path: expected a file, got .* is a folder"):
        model().save(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(FileNotFoundError, match="path: expected a folder that exists"):
        model().save(tmp_path / "file" / "m")


# Leftovers


@posix
def test_what_a_killed_process_left_goes_with_the_next_save(tmp_path: Path) -> None:
    path = tmp_path / "m"
    model(1).save(path)
    for _ in range(3):
        dead = helpers.run_program("stop_while_writing.py", path, "die")
        assert dead.returncode == -signal.SIGKILL
    assert culpa.load(path).seed == 1
    (tmp_path / ".culpa-mine").touch()
    (tmp_path / ".m.tmp").touch()
    assert len(names(tmp_path)) >= 4  # the last one's, too
    model(2).save(tmp_path / "another")
    assert names(tmp_path) == [".culpa-mine", ".m.tmp", "another", "m"]


@posix
def test_what_a_living_process_is_writing_stays(tmp_path: Path) -> None:
    path = tmp_path / "m"
    process = subprocess.Popen(
        helpers.command("stop_while_writing.py", path, "wait"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    model(1).save(path)  # sweeps, in another process
    with writing.replacing(path) as file:  # and within one
        file.write(b"mine")
        model(2).save(tmp_path / "another")
    assert path.read_bytes() == b"mine"
    process.communicate("go on\n", 60)
    assert process.returncode == 0
    assert path.read_bytes() == b"whole"
    assert names(tmp_path) == ["another", "m"]


@posix
def test_a_file_that_is_swept_away_before_it_is_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, swept = writing._lock, []

    def lock_late(handle: int) -> bool | None:
        if not swept:
            swept.append(True)
            writing._sweep(str(tmp_path))
        return real(handle)

    monkeypatch.setattr(writing, "_lock", lock_late)
    model(4).save(tmp_path / "m")
    assert culpa.load(tmp_path / "m").seed == 4
    assert names(tmp_path) == ["m"]


def test_a_file_system_without_locks_takes_files_and_loses_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "_lock", lambda _: None)
    with writing.replacing(tmp_path / "m") as file:
        file.write(b"m")
        model(1).save(tmp_path / "another")
    assert names(tmp_path) == ["another", "m"]
