"""threadpoolctl's limits reach culpa's threads, whichever of both is imported first.

threadpoolctl (https://github.com/joblib/threadpoolctl) is what scikit-learn, Dask and many users
limit the threads of BLAS and OpenMP with. It controls any library that registers a controller.
Nothing here imports it: where it is imported, it is told of culpa.
"""

from __future__ import annotations

import importlib.abc
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from culpa import _core

__all__ = ["follow_threadpoolctl", "watch_for_threadpoolctl"]

NAME = "threadpoolctl"
_followed: ModuleType | None = None


def follow_threadpoolctl() -> None:
    """Register culpa with threadpoolctl if that is imported and does not know it yet.

    Called when culpa is imported and at the start of each call: a look into a dict.
    """
    module = sys.modules.get(NAME)
    if module is not None and module is not _followed:
        _register()


def watch_for_threadpoolctl() -> None:
    """Register culpa as soon as threadpoolctl is imported.

    Without it, the limits of ``import culpa, threadpoolctl`` would begin to hold with the second
    ``with threadpool_limits(1):``, for the first would have begun before any call of culpa.
    """
    if _followed is None:
        sys.meta_path.insert(0, _Watch())


class _Watch(importlib.abc.MetaPathFinder):
    """Finds threadpoolctl by asking the other finders, and acts when it has been loaded."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != NAME:
            return None
        for finder in [finder for finder in sys.meta_path if finder is not self]:
            find = getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = find(fullname, path, target) if find else None
            if spec is not None:
                if spec.loader is not None and hasattr(spec.loader, "exec_module"):
                    self._act_after(spec.loader)
                return spec
        return None

    def _act_after(self, loader: Any) -> None:
        execute = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            if self in sys.meta_path:
                sys.meta_path.remove(self)
            _register_with(module)

        with suppress(AttributeError):  # where it takes none, the next call of culpa registers
            loader.exec_module = exec_module


def _register() -> None:
    import threadpoolctl  # waits where another thread is just importing it

    _register_with(threadpoolctl)


def _register_with(threadpoolctl: Any) -> None:
    global _followed
    if not hasattr(threadpoolctl, "register"):  # older than 3.5
        return

    class CulpaController(threadpoolctl.LibController):  # type: ignore[misc]
        """The threads of culpa: as with OpenMP, a limit is one for calls from the calling thread.

        Threads that set and restore limits side by side do not disturb each other, then.
        """

        user_api = "culpa"
        internal_api = "culpa"
        filename_prefixes = ("_core.",)
        check_symbols = ("culpa_num_threads",)  # other packages have a _core, too

        def get_num_threads(self) -> int:
            return _core.num_threads()

        def set_num_threads(self, num_threads: int) -> None:
            limit_calling_thread(num_threads)

        def get_version(self) -> str | None:
            return getattr(sys.modules.get("culpa"), "__version__", None)

    _followed = threadpoolctl
    threadpoolctl.register(CulpaController)


def limit_calling_thread(count: int) -> None:
    """Limit the calls from this thread; by the count that all threads have: lift its limit."""
    _core.set_own_threads(0)
    if count != _core.num_threads():
        _core.set_own_threads(max(1, min(int(count), 1024)))
