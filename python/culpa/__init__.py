from culpa import _core
