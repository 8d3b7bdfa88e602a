// What the doors share: the arrays of a call, kept alive and viewed, and how answers are given.
#pragma once

#include <pybind11/stl.h>
#include <pybind11/typing.h>

#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "arrays.h"
#include "gil.h"
#include "threads/team.h"
#include "training/trainer.h"

namespace culpa {

using namespace pybind11::literals;

// The value of that name in a table of them: of Name, or of what has a value and a name too.
template <class Named, std::size_t n>
auto named(const Named (&names)[n], const std::string &name, const char *what) {
  for (const Named &one : names)
    if (name == one.name)
      return one.value;
  throw py::value_error(std::string("no such ") + what + ": \"" + name + "\"");
}
template <class Enum, std::size_t n> const char *name_of(const Name<Enum> (&names)[n], Enum value) {
  for (const Name<Enum> &one : names)
    if (value == one.value)
      return one.name;
  throw std::logic_error("a value without a name");
}

// Python's signal handlers run while the core works. Called without the GIL, on the thread that
// came in. In a child that a handler forked off and returned to, the call has lost its threads.
inline bool signals_pending(void * /*context*/) {
  const CallersFloatMode mode;
  const std::uint32_t forks = fork_count();
  const WithGil gil;
  return PyErr_CheckSignals() != 0 || fork_count() != forks;
}
inline constexpr Interrupt on_signals{signals_pending, nullptr};

// What a call that only reads computes, without the GIL; once more in such a child. A handler that
// raises makes the call raise.
template <class F> auto compute_answer(F &&f) {
  if constexpr (std::is_void_v<std::invoke_result_t<F>>)
    compute_answer([&] { return f(), true; });
  else
    for (;;) {
      const std::uint32_t forks = fork_count();
      auto result = f();
      if (PyErr_Occurred())
        throw py::error_already_set();
      if (forks == fork_count())
        return result;
    }
}

// The rows that a model is asked about.
template <class T> Source inputs_of(const Model<T> &model, const Inputs &x) {
  const Source rows = source(x, "x", model.network.inputs());
  if (rows.sparse() && model.network.sparse_values == 0)
    throw py::value_error("X: expected dense rows, for what reads the inputs is no Dense layer, "
                          "nor factors in front of one, got a sparse matrix; pass X.toarray()");
  return rows;
}

// What examples a call works on. Keeps the arrays alive and their views together.
struct ExampleArrays {
  Inputs x;
  std::optional<py::array> labels, targets, sample_weights, order, score_scale, exact;

  template <class T> ExamplesView view(const Model<T> &model, bool wants_targets = true) const {
    ExamplesView examples;
    examples.x = inputs_of(model, x);
    const std::size_t rows = examples.x.rows;
    if (labels)
      examples.y.labels = vector<std::int32_t>(*labels, "labels", rows);
    else if (targets) {
      examples.y.values = source(*targets, "targets", model.network.outputs());
      if (examples.y.values.rows != rows)
        throw py::value_error("targets: expected as many rows as x");
    } else if (wants_targets)
      throw py::value_error("expected labels or targets");
    if (wants_targets && model.network.loss.kind != Loss::cross_entropy && labels)
      throw py::value_error("labels: expected targets for this loss");
    if (sample_weights)
      examples.sample_weights = vector<double>(*sample_weights, "sample_weights", rows);
    if (score_scale)
      examples.score_scale = vector<double>(*score_scale, "score_scale", model.network.outputs());
    if (exact)
      examples.exact = vector<double>(*exact, "exact", rows * model.network.outputs());
    return examples;
  }
};

struct JobArrays {
  ExampleArrays examples;
  py::array offsets, learning_rates;
  double clip_norm, seconds;
  std::optional<py::array> losses, weight_sums, scores, norms, squares, phases;
  PrivateStep privacy;
  std::optional<py::array> example_losses, example_scores;

  template <class T> TrainJob view(const Model<T> &model) const {
    TrainJob job;
    job.examples = examples.view(model);
    const std::size_t rows = job.examples.x.rows;
    job.steps = static_cast<std::size_t>(learning_rates.size());
    job.learning_rates = vector<double>(learning_rates, "learning_rates", job.steps);
    job.offsets = vector<std::int64_t>(offsets, "offsets", job.steps + 1);
    const auto length = examples.order ? static_cast<std::size_t>(examples.order->size()) : rows;
    for (std::size_t i = 0; i <= job.steps; ++i)
      if (job.offsets[i] < (i ? job.offsets[i - 1] : 0) ||
          static_cast<std::size_t>(job.offsets[i]) > length)
        throw py::value_error("offsets: expected increasing positions in the order");
    if (examples.order) {
      job.examples.order = vector<std::int64_t>(*examples.order, "order", length);
      for (std::int64_t i = job.offsets[0]; i < job.offsets[job.steps]; ++i)
        if (job.examples.order[i] < 0 || static_cast<std::size_t>(job.examples.order[i]) >= rows)
          throw py::value_error("order: expected rows of x, got one out of range");
    }
    if (privacy.clip > 0 && (clip_norm > 0 || examples.sample_weights))
      throw py::value_error(
          "example_clip: expected neither clip_norm nor sample_weights beside it");
    if (privacy.clip > 0 ? !(privacy.divisor > 0) || !(privacy.noise >= 0)
                         : privacy.noise != 0 || privacy.divisor != 0)
      throw py::value_error("example_clip: expected a divisor above 0 and a noise of at least 0 "
                            "with it, and neither without");
    job.privacy = privacy;
    job.clip_norm = clip_norm;
    job.seconds = seconds;
    job.losses = writable<double>(losses, "losses", job.steps);
    job.weight_sums = writable<double>(weight_sums, "weight_sums", job.steps);
    job.scores = writable<double>(scores, "scores", job.steps);
    job.norms = writable<double>(norms, "norms", job.steps);
    job.squares = writable<double>(squares, "squares", job.steps);
    job.phases = writable<double>(phases, "phases", phase_count);
    job.example_losses = writable<double>(example_losses, "example_losses", length);
    job.example_scores = writable<double>(example_scores, "example_scores", length);
    return job;
  }
};

inline py::ssize_t give_row(std::size_t row) {
  return row == no_row ? py::ssize_t{-1} : static_cast<py::ssize_t>(row);
}

template <class T> py::array_t<T> give_array(const std::vector<T> &values) {
  return py::array_t<T>(static_cast<py::ssize_t>(values.size()), values.data());
}

template <class T> py::array_t<T> make_array(std::size_t rows, std::size_t columns) {
  return py::array_t<T>(std::vector<std::size_t>{rows, columns});
}

// Multiplications of a predict call that is over before the GIL could change hands.
inline constexpr std::size_t brief_work = 500000;

// To read a model: while others only read it, brief work keeps the GIL. Threads that hand it to
// each other for every row get a fifth to a half less done than one alone.
struct Reading {
  Reading(Guard &guard, bool brief) {
    if (brief && hold.emplace(guard, Access::read, std::try_to_lock))
      return;
    release.emplace(); // the thread that holds the guard may want the GIL
    hold.emplace(guard, Access::read, on_signals);
  }
  std::optional<WithoutGil> release; // outlives the hold
  std::optional<Hold> hold;
};

// A constructor, as py::init makes them, but for memory that runs out while pybind11 registers the
// object: with py::init that ends the process, or frees the object twice.
template <class T, class... Args, class... Extra>
void bind_constructor(py::class_<T> &type, std::unique_ptr<T> (*make)(Args...),
                      const Extra &...extra) {
  type.def(
      "__init__",
      [make](py::detail::value_and_holder &self, Args... args) {
        std::unique_ptr<T> made = make(std::forward<Args>(args)...);
        self.value_ptr() = made.get();
        try {
          self.type->init_instance(self.inst, &made); // which takes it
        } catch (...) {
          self.value_ptr() = nullptr; // `made` has it still
          throw;
        }
      },
      py::detail::is_new_style_constructor(), extra...);
}

void bind_claims(py::module_ &m);
void bind_descriptions(py::module_ &m);
void bind_models(py::module_ &m);
void bind_random(py::module_ &m);
void bind_scalar(py::module_ &m);
template <class T> void bind_answers(py::class_<Model<T>> &model);

} // namespace culpa
