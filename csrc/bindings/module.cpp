// The door: checks arrays, releases the GIL, calls in. No maths.
#include "bindings.h"
#include "data/finite.h"
#include "peak.h"
#include "stages/plan.h"

// pybind11 makes a function of this name; PyInit__core, below, is what the interpreter calls.
#undef PYBIND11_EXPORT
#define PYBIND11_EXPORT

// Thread safety without the GIL: models carry a lock of their own, the team a flag, and nothing
// else is shared.
PYBIND11_MODULE(_core_in_the_main_interpreter, m, pybind11::mod_gil_not_used()) {
  using namespace culpa;
  m.doc() = "Culpa's core: see csrc/ in the repository.";
  try {
    kernels::table();
  } catch (const std::runtime_error &error) {
    throw pybind11::import_error(error.what());
  }
  py::register_local_exception_translator([](std::exception_ptr raised) {
    try {
      std::rethrow_exception(std::move(raised));
    } catch (const Interrupted &) { // NOLINT(bugprone-empty-catch): Python's error is set
    }
  });
  watch_forks();
  bind_claims(m);
  bind_descriptions(m);
  bind_models(m);
  bind_random(m);
  bind_scalar(m);
  m.def(
      "find_not_finite",
      [](const py::array &x, const std::string &dtype, double scale) {
        const Source rows =
            source(x, "x", x.ndim() == 2 ? static_cast<std::size_t>(x.shape(1)) : 0);
        const WithoutGil release; // one pass over the data
        return give_row(dtype == "float64" ? find_not_finite<double>(rows, scale, num_threads())
                                           : find_not_finite<float>(rows, scale, num_threads()));
      },
      "x"_a, "dtype"_a, "scale"_a = 1.0,
      "The first row with a value that is not finite in that dtype, times scale, or -1.");
  m.def(
      "instruction_set", [] { return std::string(kernels::table().name); },
      "The instruction set in use.");
  m.def(
      "instruction_sets",
      [] {
        std::vector<std::string> names;
        for (const kernels::Table *const *t = kernels::available(); *t; ++t)
          names.emplace_back((*t)->name);
        return names;
      },
      "Those that this CPU can run, fastest first.");
  m.def(
      "phase_names",
      [] {
        std::vector<std::string> names(phase_count);
        for (const auto &[phase, name] : phase_names)
          names[static_cast<std::size_t>(phase)] = name;
        return names;
      },
      "What a Job's phases count the seconds of, in order.");
  m.def(
      "measure_peak",
      [](bool float64, std::size_t threads, std::size_t rounds) {
        const WithoutGil release;
        return float64 ? measure_peak<double>(threads, rounds)
                       : measure_peak<float>(threads, rounds);
      },
      "float64"_a = false, "threads"_a = 1, "rounds"_a = 15,
      "Floating-point operations per second at the most: multiply-adds that touch no memory.");
  m.def("num_threads", &num_threads, "Threads that a call may use.");
  m.def("set_num_threads", &set_num_threads, "count"_a);
  m.def("set_own_threads", &set_own_threads, "count"_a,
        "Threads for calls from the calling thread alone, 0: as all others; gives the last count.");
  m.def(
      "barrier_seconds",
      [](std::size_t threads) {
        const py::gil_scoped_release release; // it may measure, up to some milliseconds
        return barrier_seconds(threads);
      },
      "threads"_a, "What one meeting of so many threads costs: small steps use fewer threads.");
  m.def("set_barrier_seconds", &set_barrier_seconds, "threads"_a, "seconds"_a,
        "For tests: as if a meeting had been measured at that; 0: not measured yet.");
  m.def(
      "force_plan",
      [](std::size_t threads, const std::string &split) {
        force_plan(threads, named(split_names, split, "split"));
      },
      "threads"_a, "split"_a = "rows",
      "For tests: exactly so many threads, by rows or columns; 0 threads: choose again.");
}

// NumPy and this module work in the main interpreter alone. In another one pybind11 would wait for
// ever, already while it gets ready.
// NOLINTNEXTLINE(bugprone-reserved-identifier): the name that the interpreter looks for
extern "C" __attribute__((visibility("default"))) PyObject *PyInit__core() {
  if (PyInterpreterState_Get() != PyInterpreterState_Main()) {
    PyErr_SetString(PyExc_ImportError,
                    "culpa: expected to be imported by the main interpreter, got a subinterpreter, "
                    "which NumPy does not support either; use threads or processes");
    return nullptr;
  }
  return PyInit__core_in_the_main_interpreter();
}
