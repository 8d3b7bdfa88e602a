// The GIL, given back and taken again.
#pragma once

#include <pybind11/pybind11.h>

#include <chrono>
#include <thread>

namespace culpa {

// Takes the GIL. Python before 3.14 ends a daemon thread that asks for it while the interpreter
// shuts down: pthread_exit unwinds the thread's stack, meets a destructor, and the process aborts.
// Such a thread sleeps here instead, as from 3.14 on, and ends with the process.
template <class Take> void take_gil(Take take) noexcept {
  try {
    take();       // C, which throws nothing
  } catch (...) { // what pthread_exit unwinds with; it has no object, so no type is named
    for (;;)
      std::this_thread::sleep_for(std::chrono::hours(1));
  }
}

// While the core works on memory of its own, or that Python's objects keep alive.
class WithoutGil {
public:
  WithoutGil() : state_(PyEval_SaveThread()) {}
  ~WithoutGil() {
    take_gil([this] { PyEval_RestoreThread(state_); });
  }
  WithoutGil(const WithoutGil &) = delete;
  WithoutGil &operator=(const WithoutGil &) = delete;

private:
  PyThreadState *state_;
};

// Inside of that, to ask Python something.
class WithGil {
public:
  WithGil() {
    take_gil([this] { state_ = PyGILState_Ensure(); });
  }
  ~WithGil() { PyGILState_Release(state_); }
  WithGil(const WithGil &) = delete;
  WithGil &operator=(const WithGil &) = delete;

private:
  PyGILState_STATE state_{};
};

} // namespace culpa
