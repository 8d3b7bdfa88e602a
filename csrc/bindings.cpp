// The door: checks arrays, releases the GIL, calls in. No maths.
#include <pybind11/stl.h>
#include <pybind11/typing.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <utility>
#include <vector>

#include "arrays.h"
#include "attributions/attribute.h"
#include "blame.h"
#include "influence.h"
#include "peak.h"
#include "random.h"
#include "team.h"
#include "trainer.h"

namespace culpa {
namespace {

using namespace pybind11::literals;

// Names in the order of the enumerations in kernels.h.
constexpr const char *activation_names[] = {"identity", "relu", "leaky_relu", "elu",
                                            "selu",     "gelu", "gelu_tanh",  "silu",
                                            "mish",     "tanh", "sigmoid",    "softplus"};
constexpr const char *loss_names[] = {
    "cross_entropy", "binary_cross_entropy", "mse", "mae", "huber", "poisson", "quantile"};
constexpr const char *rule_names[] = {"sgd", "adam", "rmsprop"};
constexpr const char *stop_names[] = {"finished", "time", "diverged", "interrupted", "not_finite"};

template <class Enum, std::size_t n>
Enum named(const char *const (&names)[n], const std::string &name, const char *what) {
  for (std::size_t i = 0; i < n; ++i)
    if (name == names[i])
      return static_cast<Enum>(i);
  throw py::value_error(std::string("no such ") + what + ": \"" + name + "\"");
}

// Ctrl-C: Python's signal handlers run while the core works. Called without the GIL, on the thread
// that came in.
bool signals_pending(void * /*context*/) {
  const CallersFloatMode mode;
  const py::gil_scoped_acquire gil;
  return PyErr_CheckSignals() != 0;
}
constexpr Interrupt on_signals{signals_pending, nullptr};

[[noreturn]] void raise_pending() { throw py::error_already_set(); }

using LayerTuple = std::tuple<std::size_t, std::size_t, std::string, double, double>;

template <class T>
std::unique_ptr<Model<T>> make_model(const std::vector<LayerTuple> &specs, const std::string &loss,
                                     double loss_parameter, double input_scale,
                                     double input_dropout, std::uint64_t seed, std::size_t member,
                                     double loss_limit) {
  std::vector<Layer> layers;
  for (const auto &[inputs, outputs, activation, alpha, dropout] : specs) {
    Layer layer;
    layer.inputs = inputs;
    layer.outputs = outputs;
    layer.activation = named<Activation>(activation_names, activation, "activation");
    layer.alpha = alpha;
    layer.dropout = dropout;
    layers.push_back(layer);
  }
  Network network = make_network(std::move(layers));
  network.loss = named<Loss>(loss_names, loss, "loss");
  network.loss_parameter = loss_parameter;
  network.loss_limit = loss_limit;
  network.input_scale = input_scale;
  network.input_dropout = input_dropout;
  return std::make_unique<Model<T>>(std::move(network), seed, member);
}

// What examples a call works on. Keeps the arrays alive and their views together.
struct ExampleArrays {
  Inputs x;
  std::optional<py::array> labels, targets, weights, order, score_scale;

  template <class T> Examples view(const Model<T> &model, bool wants_targets = true) const {
    Examples examples;
    examples.x = source(x, "x", model.network.inputs());
    const std::size_t rows = examples.x.rows;
    if (labels)
      examples.y.labels = vector<std::int32_t>(*labels, "labels", rows);
    else if (targets) {
      examples.y.values = source(*targets, "targets", model.network.outputs());
      if (examples.y.values.rows != rows)
        throw py::value_error("targets: expected as many rows as x");
    } else if (wants_targets)
      throw py::value_error("expected labels or targets");
    if (wants_targets && (model.network.loss != Loss::cross_entropy) && labels)
      throw py::value_error("labels: expected targets for this loss");
    if (weights)
      examples.weights = vector<double>(*weights, "weights", rows);
    if (score_scale)
      examples.score_scale = vector<double>(*score_scale, "score_scale", model.network.outputs());
    return examples;
  }
};

constexpr const char *method_names[] = {"gradient", "path",     "expected",
                                        "smooth",   "deeplift", "lrp"};

// Checks that the method has all that it reads.
template <class T>
AttributeJob
attribute_job(const Model<T> &model, const py::array &x, const std::string &method,
              const std::optional<py::array> &targets, const std::optional<py::array> &baseline,
              const std::optional<py::array> &background, const std::optional<py::array> &points,
              const std::optional<py::array> &weights, const std::optional<py::array> &noise,
              std::size_t samples, std::uint64_t seed, double epsilon, bool times_inputs) {
  AttributeJob job;
  job.method = named<Method>(method_names, method, "method");
  job.x = source(x, "x", model.network.inputs());
  const std::size_t rows = job.x.rows;
  const bool path = job.method == Method::path, expected = job.method == Method::expected;
  const bool smooth = job.method == Method::smooth;
  const bool compares = path || expected || job.method == Method::deeplift;
  if ((baseline && background) || (baseline || background) != compares || (expected && baseline))
    throw py::value_error("baseline, background: expected what the method compares to");
  if (baseline) {
    job.baseline = source(*baseline, "baseline", model.network.inputs());
    if (job.baseline.rows != rows && job.baseline.rows != 1)
      throw py::value_error("baseline: expected one row, or as many as x");
    if (job.baseline.rows == 1)
      job.baseline.row_stride = 0;
  }
  if (background) {
    job.background = source(*background, "background", model.network.inputs());
    if (job.background.rows == 0)
      throw py::value_error("background: expected at least one row");
  }
  if (targets) {
    job.targets = vector<std::int64_t>(*targets, "targets", rows);
    for (std::size_t i = 0; i < rows; ++i)
      if (job.targets[i] < 0 || static_cast<std::size_t>(job.targets[i]) >= model.network.outputs())
        throw py::value_error("targets: expected outputs of the model");
  }
  if (path != (points && weights))
    throw py::value_error("points, weights: expected those of the path");
  if (path) {
    job.steps = static_cast<std::size_t>(points->size());
    job.points = vector<double>(*points, "points", job.steps);
    job.weights = vector<double>(*weights, "weights", job.steps);
  }
  if ((expected || smooth) != (samples > 0))
    throw py::value_error("samples: expected the number of draws");
  if (smooth != noise.has_value())
    throw py::value_error("noise: expected the standard deviation of each input");
  if (smooth)
    job.noise = vector<double>(*noise, "noise", model.network.inputs());
  if (job.method == Method::lrp && !(epsilon > 0))
    throw py::value_error("epsilon: expected a positive number");
  job.samples = samples;
  job.seed = seed;
  job.epsilon = epsilon;
  job.times_inputs = times_inputs;
  return job;
}

constexpr std::array<const char *, phases> phase_names = {
    "rest", "gather", "forward", "loss", "backward", "weights", "optimizer", "barrier"};

struct JobArrays {
  ExampleArrays examples;
  py::array offsets, learning_rates;
  double clip_norm, seconds;
  std::optional<py::array> losses, weight_sums, scores, norms, squares, phases;
  Private privacy;
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
    if (privacy.clip > 0 && (clip_norm > 0 || examples.weights))
      throw py::value_error("example_clip: expected neither clip_norm nor weights beside it");
    if (privacy.clip > 0 ? !(privacy.divisor > 0) || !(privacy.noise >= 0)
                         : privacy.noise != 0 || privacy.divisor != 0)
      throw py::value_error("example_clip: expected a divisor above 0 and a noise of at least 0 "
                            "with it, and neither without");
    job.privacy = privacy;
    job.clip_norm = clip_norm;
    job.seconds = seconds;
    job.losses = writable<double>(losses, "losses", job.steps);
    job.weights = writable<double>(weight_sums, "weight_sums", job.steps);
    job.scores = writable<double>(scores, "scores", job.steps);
    job.norms = writable<double>(norms, "norms", job.steps);
    job.squares = writable<double>(squares, "squares", job.steps);
    job.phases = writable<double>(phases, "phases", phase_names.size());
    job.example_losses = writable<double>(example_losses, "example_losses", length);
    job.example_scores = writable<double>(example_scores, "example_scores", length);
    return job;
  }
};

using Given = py::typing::Tuple<py::int_, py::str, py::int_>;

Given give(const TrainResult &result) {
  return py::make_tuple(result.steps, stop_names[static_cast<int>(result.stop)],
                        result.row == no_row ? py::ssize_t{-1}
                                             : static_cast<py::ssize_t>(result.row));
}

py::ssize_t give_row(std::size_t row) {
  return row == no_row ? py::ssize_t{-1} : static_cast<py::ssize_t>(row);
}

// A read-only array over the core's own memory, which `owner` keeps alive.
template <class T>
py::array_t<T> read_only(const std::vector<std::size_t> &shape, const T *data,
                         const py::object &owner) {
  py::array_t<T> array(shape, data, owner);
  array.attr("setflags")("write"_a = false);
  return array;
}

template <class T> const Layer &layer_at(const Model<T> &model, std::size_t i) {
  if (i >= model.network.layers.size())
    throw py::index_error("no such layer");
  return model.network.layers[i];
}

template <class T> py::array_t<T> give_array(const std::vector<T> &values) {
  return py::array_t<T>(static_cast<py::ssize_t>(values.size()), values.data());
}

template <class T> py::array_t<T> make_array(std::size_t rows, std::size_t columns) {
  return py::array_t<T>(std::vector<std::size_t>{rows, columns});
}

// Multiplications of a predict call that is over before the GIL could change hands.
constexpr std::size_t brief_work = 500000;

// To read a model: while others only read it, brief work keeps the GIL. Threads that hand it to
// each other for every row get a fifth to a half less done than one alone.
struct Reading {
  Reading(Guard &guard, bool brief) : lock(guard, std::defer_lock) {
    if (!brief || !lock.try_lock()) {
      release.emplace(); // whoever holds the guard may want the GIL
      lock.lock();
    }
  }
  std::optional<py::gil_scoped_release> release; // outlives the lock
  std::shared_lock<Guard> lock;
};

// Compares bits in one pass: NumPy takes longer for that than the core for a guess about one row.
template <class T>
bool holds(const Model<T> &model, const std::vector<py::object> &weights,
           const std::vector<py::object> &biases) {
  using Own = py::array_t<T, py::array::c_style>;
  const std::vector<Layer> &layers = model.network.layers;
  if (weights.size() != layers.size() || biases.size() != layers.size())
    return false;
  struct Pair {
    py::object given; // alive while they are compared
    const T *own, *other;
    std::size_t size;
  };
  std::vector<Pair> pairs;
  pairs.reserve(2 * layers.size());
  const auto add = [&](py::object given, std::size_t own, std::size_t rows, std::size_t columns) {
    if (!py::isinstance<Own>(given))
      return false;
    const auto array = py::reinterpret_borrow<py::array>(given);
    const auto size = [&](py::ssize_t i) { return static_cast<std::size_t>(array.shape(i)); };
    const bool alike = rows ? array.ndim() == 2 && size(0) == rows && size(1) == columns
                            : array.ndim() == 1 && size(0) == columns;
    if (!alike)
      return false;
    pairs.push_back({std::move(given), model.parameters.values.data() + own,
                     static_cast<const T *>(array.data()),
                     std::max<std::size_t>(rows, 1) * columns});
    return true;
  };
  for (std::size_t i = 0; i < layers.size(); ++i)
    if (!add(weights[i], layers[i].weight, layers[i].inputs, layers[i].outputs) ||
        !add(biases[i], layers[i].bias, 0, layers[i].outputs))
      return false;
  const Reading reading(model.guard, model.network.parameters < brief_work);
  return std::all_of(pairs.begin(), pairs.end(), [](const Pair &pair) {
    return std::memcmp(pair.own, pair.other, pair.size * sizeof(T)) == 0;
  });
}

template <class T> void bind_model(py::module_ &m, const char *name) {
  using M = Model<T>;
  py::class_<M>(m, name, "A network with its weights and its optimizer's memory.")
      .def(py::init(&make_model<T>), py::kw_only(), "layers"_a, "loss"_a, "loss_parameter"_a,
           "input_scale"_a, "input_dropout"_a, "seed"_a, "member"_a, "loss_limit"_a = 0.0)
      .def(
          "parameters",
          [](const py::object &self) {
            M &model = self.cast<M &>();
            return read_only<T>({model.parameters.values.size()}, model.parameters.values.data(),
                                self);
          },
          "The flat parameter vector, a read-only view.")
      .def(
          "copy_parameters",
          [](const M &model) {
            py::array_t<T> copy(static_cast<py::ssize_t>(model.network.parameters));
            T *to = copy.mutable_data();
            {
              const py::gil_scoped_release release; // a writer may hold the guard
              const std::shared_lock lock(model.guard);
              std::copy_n(model.parameters.values.data(), model.network.parameters, to);
            }
            return copy;
          },
          "A copy of the flat parameter vector, all of one step.")
      .def(
          "weight",
          [](const py::object &self, std::size_t i) {
            M &model = self.cast<M &>();
            const Layer &layer = layer_at(model, i);
            return read_only<T>({layer.inputs, layer.outputs},
                                model.parameters.values.data() + layer.weight, self);
          },
          "layer"_a, "A layer's weights (inputs, outputs), a read-only view.")
      .def(
          "bias",
          [](const py::object &self, std::size_t i) {
            M &model = self.cast<M &>();
            const Layer &layer = layer_at(model, i);
            return read_only<T>({layer.outputs}, model.parameters.values.data() + layer.bias, self);
          },
          "layer"_a, "A layer's biases (outputs), a read-only view.")
      .def(
          "offsets",
          [](const M &model) {
            std::vector<std::pair<std::size_t, std::size_t>> offsets;
            offsets.reserve(model.network.layers.size());
            for (const Layer &layer : model.network.layers)
              offsets.emplace_back(layer.weight, layer.bias);
            return offsets;
          },
          "Where each layer's weights and biases begin in the flat vector.")
      .def(
          "set_parameters",
          [](M &model, const py::array &values) {
            const T *from = vector<T>(values, "values", model.network.parameters);
            const py::gil_scoped_release release; // readers may hold the guard
            const std::unique_lock lock(model.guard);
            std::copy_n(from, model.network.parameters, model.parameters.values.data());
            model.parameters.repack_all(model.network);
          },
          "values"_a, "Replaces the whole flat vector.")
      .def("holds", &holds<T>, "weights"_a, "biases"_a,
           "Whether each layer has these very weights and biases: C-contiguous arrays of the "
           "model's dtype, the same to the last bit.")
      .def(
          "set_optimizer",
          [](M &model, const Optimizer &optimizer) {
            const py::gil_scoped_release release;
            const std::unique_lock lock(model.guard);
            set_optimizer(model, optimizer);
          },
          "optimizer"_a, "Sets the optimizer, with fresh moments.")
      .def(
          "moments",
          [](const M &model) -> py::typing::Tuple<py::array_t<T>, py::array_t<T>, py::int_> {
            std::vector<T> first, second;
            std::uint64_t steps = 0;
            {
              const py::gil_scoped_release release; // a writer may hold the guard
              const std::shared_lock lock(model.guard);
              const auto copy = [](const Buffer<T> &from) {
                return std::vector<T>(from.data(), from.data() + from.size());
              };
              first = copy(model.moments.first);
              second = copy(model.moments.second);
              steps = model.moments.steps;
            }
            return py::make_tuple(give_array(first), give_array(second), steps);
          },
          "Copies of the optimizer's two moments (empty where it keeps none), and its steps.")
      .def(
          "set_moments",
          [](M &model, const py::array &first, const py::array &second, std::uint64_t steps) {
            const T *one = vector<T>(first, "first", model.moments.first.size());
            const T *two = vector<T>(second, "second", model.moments.second.size());
            const py::gil_scoped_release release;
            const std::unique_lock lock(model.guard);
            std::copy_n(one, model.moments.first.size(), model.moments.first.data());
            std::copy_n(two, model.moments.second.size(), model.moments.second.data());
            model.moments.steps = steps;
          },
          "first"_a, "second"_a, "steps"_a, "Restores what moments() gave.")
      .def_property(
          "steps", [](const M &model) { return model.steps; },
          [](M &model, std::uint64_t steps) { model.steps = steps; },
          "Batches trained on: the counter of dropout's random numbers.")
      .def(
          "train",
          [](M &model, const JobArrays &arrays) {
            const TrainJob job = arrays.view(model);
            TrainResult result;
            {
              // The arrays are checked and alive; nothing below touches Python but the poll.
              const py::gil_scoped_release release;
              const std::unique_lock lock(model.guard);
              result = train(model, job, num_threads(), on_signals);
            }
            if (result.stop == Stop::interrupted)
              raise_pending();
            return give(result);
          },
          "job"_a, "Trains a chunk; gives (steps done, why it stopped, row that is not finite).")
      .def(
          "apply",
          [](M &model, const py::array &gradient, double learning_rate, double weight_sum) {
            const T *g = vector<T>(gradient, "gradient", model.network.parameters);
            const py::gil_scoped_release release;
            const std::unique_lock lock(model.guard);
            apply(model, g, learning_rate, weight_sum, num_threads());
          },
          "gradient"_a, "learning_rate"_a, "weight_sum"_a = 1.0,
          "One optimizer step with a given flat gradient.")
      .def(
          "blame",
          [](M &model, const ExampleArrays &arrays, bool nodes, bool inputs, bool norms,
             bool gradient) {
            const Examples examples = arrays.view(model);
            const std::size_t rows = examples.x.rows;
            py::typing::Dict<py::str, py::object> answer;
            BlameOut<T> out;
            py::array_t<double> losses(static_cast<py::ssize_t>(rows));
            out.losses = losses.mutable_data();
            answer["losses"] = losses;
            if (nodes) {
              py::list list;
              for (const Layer &layer : model.network.layers) {
                auto array = make_array<T>(rows, layer.outputs);
                out.nodes.push_back(array.mutable_data());
                list.append(array);
              }
              answer["nodes"] = list;
            }
            if (inputs) {
              auto array = make_array<T>(rows, model.network.inputs());
              out.inputs = array.mutable_data();
              answer["inputs"] = array;
            }
            if (norms) {
              py::array_t<double> array(static_cast<py::ssize_t>(rows));
              out.examples = array.mutable_data();
              answer["examples"] = array;
            }
            if (gradient) {
              py::array_t<T> array(static_cast<py::ssize_t>(model.network.parameters));
              out.gradient = array.mutable_data();
              answer["gradient"] = array;
            }
            LossSums sums;
            {
              const py::gil_scoped_release release; // as in train
              const std::shared_lock lock(model.guard);
              sums = blame(model, examples, rows, out, num_threads(), on_signals);
            }
            if (sums.interrupted)
              raise_pending();
            answer["loss_sum"] = sums.loss;
            answer["weight_sum"] = sums.weight;
            answer["row"] = give_row(sums.row);
            return answer;
          },
          "examples"_a, py::kw_only(), "nodes"_a = false, "inputs"_a = false, "norms"_a = false,
          "gradient"_a = false, "The walk of a step without the update, and what is asked of it.")
      .def_static(
          "influence",
          [](const std::vector<const M *> &models, const py::array &factors,
             const ExampleArrays &train, const ExampleArrays &test, std::size_t top) {
            InfluenceJob<T> job;
            if (models.empty())
              throw py::value_error("models: expected at least one");
            for (const M *model : models) {
              if (!model)
                throw py::type_error("models: expected no None among them");
              if (std::find(job.models.begin(), job.models.end(), model) != job.models.end())
                throw py::value_error("models: expected each model once");
              job.models.push_back(model);
              job.train = train.view(*model); // checks that all have the same inputs and outputs
              job.test = test.view(*model);
            }
            if (job.train.x.sparse() || job.test.x.sparse())
              throw py::type_error("train, test: expected dense rows");
            job.factors = vector<double>(factors, "factors", models.size());
            const std::size_t trains = job.train.x.rows, tests = job.test.x.rows;
            py::typing::Dict<py::str, py::object> answer;
            InfluenceOut<T> out;
            out.top = std::min(top, trains);
            if (top == 0) {
              auto scores = make_array<T>(tests, trains);
              out.scores = scores.mutable_data();
              answer["scores"] = scores;
            } else {
              auto highest = make_array<std::int64_t>(tests, out.top);
              auto lowest = make_array<std::int64_t>(tests, out.top);
              auto highest_scores = make_array<T>(tests, out.top);
              auto lowest_scores = make_array<T>(tests, out.top);
              out.highest = highest.mutable_data();
              out.lowest = lowest.mutable_data();
              out.highest_scores = highest_scores.mutable_data();
              out.lowest_scores = lowest_scores.mutable_data();
              answer["highest"] = highest;
              answer["lowest"] = lowest;
              answer["highest_scores"] = highest_scores;
              answer["lowest_scores"] = lowest_scores;
            }
            InfluenceResult result;
            {
              const py::gil_scoped_release release; // as in train
              std::vector<std::shared_lock<Guard>> locks;
              locks.reserve(models.size());
              for (const M *model : models)
                locks.emplace_back(model->guard);
              result = influence(job, out, num_threads(), on_signals);
            }
            if (PyErr_Occurred())
              raise_pending();
            answer["train_row"] = give_row(result.train_row);
            answer["test_row"] = give_row(result.test_row);
            return answer;
          },
          "models"_a, py::kw_only(), "factors"_a, "train"_a, "test"_a, "top"_a = 0,
          "Sums over models of factor * dot products of the examples' gradients (tests, trains), "
          "or the top highest and lowest of each test.")
      .def(
          "predict",
          [](M &model, const Inputs &x, bool classes) -> py::typing::Tuple<py::array, py::int_> {
            const Examples examples{source(x, "x", model.network.inputs()), {}};
            const std::size_t rows = examples.x.rows;
            PredictOut<T> out;
            py::array answer;
            if (classes) {
              py::array_t<std::int64_t> array(static_cast<py::ssize_t>(rows));
              out.classes = array.mutable_data();
              answer = std::move(array);
            } else {
              auto array = make_array<T>(rows, model.network.outputs());
              out.logits = array.mutable_data();
              answer = std::move(array);
            }
            std::size_t bad = no_row;
            {
              const Reading reading(model.guard, rows * model.network.parameters < brief_work);
              bad = predict(model, examples, rows, out, num_threads(), on_signals);
            }
            if (PyErr_Occurred())
              raise_pending();
            return py::make_tuple(answer, give_row(bad));
          },
          "x"_a, "classes"_a = false,
          "The outputs (n, outputs) or the class of each row; and a row that is not finite, or -1.")
      .def(
          "evaluate",
          [](M &model, const ExampleArrays &arrays)
              -> py::typing::Tuple<py::array_t<double>, py::array_t<double>, py::int_> {
            const Examples examples = arrays.view(model);
            const std::size_t rows = examples.x.rows;
            py::array_t<double> losses(static_cast<py::ssize_t>(rows));
            py::array_t<double> scores(static_cast<py::ssize_t>(rows));
            PredictOut<T> out;
            out.losses = losses.mutable_data();
            out.scores = scores.mutable_data();
            std::size_t bad = no_row;
            {
              const py::gil_scoped_release release;
              const std::shared_lock lock(model.guard);
              bad = predict(model, examples, rows, out, num_threads(), on_signals);
            }
            if (PyErr_Occurred())
              raise_pending();
            return py::make_tuple(losses, scores, give_row(bad));
          },
          "examples"_a, "Each row's loss and score; and a row that is not finite, or -1.")
      .def(
          "attribute",
          [](M &model, const py::array &x, const std::string &method,
             const std::optional<py::array> &targets, const std::optional<py::array> &baseline,
             const std::optional<py::array> &background, const std::optional<py::array> &points,
             const std::optional<py::array> &weights, const std::optional<py::array> &noise,
             std::size_t samples, std::uint64_t seed, double epsilon, bool times_inputs,
             bool nodes) {
            const AttributeJob job =
                attribute_job(model, x, method, targets, baseline, background, points, weights,
                              noise, samples, seed, epsilon, times_inputs);
            if (nodes && job.method != Method::path)
              throw py::value_error("nodes: expected paths to sum over");
            const std::size_t rows = job.x.rows;
            const auto length = static_cast<py::ssize_t>(rows);
            const bool compares = baseline || background;

            py::typing::Dict<py::str, py::object> answer;
            AttributeOut<T> out;
            auto values = make_array<T>(rows, model.network.inputs());
            py::array_t<std::int64_t> asked(length);
            py::array_t<T> outputs(length), baseline_outputs(compares ? length : 0);
            py::array_t<double> sums(length);
            out.values = values.mutable_data();
            out.targets = asked.mutable_data();
            out.outputs = outputs.mutable_data();
            out.baseline_outputs = baseline_outputs.mutable_data();
            out.sums = sums.mutable_data();
            py::list of_layers;
            for (std::size_t l = 0; nodes && l + 1 < model.network.layers.size(); ++l) {
              auto layer = make_array<T>(rows, model.network.layers[l].outputs);
              out.nodes.push_back(layer.mutable_data());
              of_layers.append(layer);
            }
            AttributeResult result;
            {
              const py::gil_scoped_release release; // as in train
              const std::shared_lock lock(model.guard);
              result = attribute(model, job, out, num_threads(), on_signals);
            }
            if (PyErr_Occurred())
              raise_pending();
            answer["values"] = values;
            answer["targets"] = asked;
            answer["outputs"] = outputs;
            answer["baseline_outputs"] = baseline_outputs;
            answer["sums"] = sums;
            answer["nodes"] = of_layers;
            answer["row"] = give_row(result.x_row);
            answer["baseline_row"] = give_row(result.baseline_row);
            return answer;
          },
          "x"_a, py::kw_only(), "method"_a = "gradient", "targets"_a = py::none(),
          "baseline"_a = py::none(), "background"_a = py::none(), "points"_a = py::none(),
          "weights"_a = py::none(), "noise"_a = py::none(), "samples"_a = 0, "seed"_a = 0,
          "epsilon"_a = 0.0, "times_inputs"_a = false, "nodes"_a = false,
          "What each input did to one output per row, by the method's definition.");

  m.def(
      "train_side_by_side",
      [](const std::vector<M *> &models, const std::vector<const JobArrays *> &arrays) {
        if (models.size() != arrays.size())
          throw py::value_error("jobs: expected one per model");
        std::vector<TrainJob> jobs;
        for (std::size_t i = 0; i < models.size(); ++i) {
          if (!models[i] || !arrays[i])
            throw py::type_error("models, jobs: expected no None among them");
          for (std::size_t j = 0; j < i; ++j)
            if (models[j] == models[i])
              throw py::value_error("models: expected each model once");
          jobs.push_back(arrays[i]->view(*models[i]));
        }
        std::vector<TrainResult> results;
        {
          const py::gil_scoped_release release;
          std::vector<std::unique_lock<Guard>> locks;
          locks.reserve(models.size());
          for (M *model : models)
            locks.emplace_back(model->guard);
          train_side_by_side(models, jobs, results, num_threads(), on_signals);
        }
        if (PyErr_Occurred())
          raise_pending();
        py::typing::List<Given> answer;
        for (const TrainResult &result : results)
          answer.append(give(result));
        return answer;
      },
      "models"_a, "jobs"_a, "A chunk of several models, each on one thread.");
}

void bind_descriptions(py::module_ &m) {
  py::class_<Optimizer>(m, "Optimizer", "What an optimizer is, without its moments.")
      .def(py::init([](const std::string &rule, double beta_1, double beta_2, double epsilon,
                       double momentum, double weight_decay, bool nesterov, bool decoupled,
                       bool decay_per_example, bool scikit_learn, double gradient_scale) {
             return Optimizer{named<Rule>(rule_names, rule, "optimizer"),
                              beta_1,
                              beta_2,
                              epsilon,
                              momentum,
                              weight_decay,
                              nesterov,
                              decoupled,
                              decay_per_example,
                              scikit_learn,
                              gradient_scale};
           }),
           "rule"_a, py::kw_only(), "beta_1"_a = 0.9, "beta_2"_a = 0.999, "epsilon"_a = 1e-8,
           "momentum"_a = 0.0, "weight_decay"_a = 0.0, "nesterov"_a = false, "decoupled"_a = false,
           "decay_per_example"_a = false, "scikit_learn"_a = false, "gradient_scale"_a = 1.0)
      .def_readwrite("gradient_scale", &Optimizer::gradient_scale,
                     "What the gradient counts times, weight decay excluded.");

  py::class_<SparseRows>(m, "SparseRows", "A sparse matrix of inputs in CSR form, checked.")
      .def(py::init<py::array, py::array, const py::array &, std::size_t, const std::string &>(),
           "values"_a, "indices"_a, "begins"_a, "columns"_a, "name"_a)
      .def_property_readonly("canonical", &SparseRows::canonical,
                             "Whether the columns of each row rise, as the core wants them to.");

  py::class_<ExampleArrays>(m, "Examples", "Arrays of examples, one row each.")
      .def(py::init<Inputs, std::optional<py::array>, std::optional<py::array>,
                    std::optional<py::array>, std::optional<py::array>, std::optional<py::array>>(),
           "x"_a, py::kw_only(), "labels"_a = py::none(), "targets"_a = py::none(),
           "weights"_a = py::none(), "order"_a = py::none(), "score_scale"_a = py::none());

  py::class_<JobArrays>(m, "Job", "A chunk of training: batches of examples, and where to report.")
      .def(py::init([](ExampleArrays examples, py::array offsets, py::array learning_rates,
                       double clip_norm, double seconds, std::optional<py::array> losses,
                       std::optional<py::array> weight_sums, std::optional<py::array> scores,
                       std::optional<py::array> norms, std::optional<py::array> squares,
                       std::optional<py::array> phases, double example_clip, double noise,
                       double divisor, std::uint64_t noise_seed,
                       std::optional<py::array> example_losses,
                       std::optional<py::array> example_scores) {
             return JobArrays{std::move(examples),
                              std::move(offsets),
                              std::move(learning_rates),
                              clip_norm,
                              seconds,
                              std::move(losses),
                              std::move(weight_sums),
                              std::move(scores),
                              std::move(norms),
                              std::move(squares),
                              std::move(phases),
                              {example_clip, noise, divisor, noise_seed},
                              std::move(example_losses),
                              std::move(example_scores)};
           }),
           "examples"_a, py::kw_only(), "offsets"_a, "learning_rates"_a, "clip_norm"_a = 0.0,
           "seconds"_a = 0.0, "losses"_a = py::none(), "weight_sums"_a = py::none(),
           "scores"_a = py::none(), "norms"_a = py::none(), "squares"_a = py::none(),
           "phases"_a = py::none(), "example_clip"_a = 0.0, "noise"_a = 0.0, "divisor"_a = 0.0,
           "noise_seed"_a = 0, "example_losses"_a = py::none(), "example_scores"_a = py::none());
}

void bind_random(py::module_ &m) {
  m.def(
      "draw",
      [](const std::string &kind, std::size_t n, std::uint64_t seed, std::size_t layer,
         std::size_t member) {
        const bool normal = kind == "normal";
        if (!normal && kind != "uniform")
          throw py::value_error(R"(kind: expected "uniform" or "normal")");
        py::array_t<double> array(static_cast<py::ssize_t>(n));
        double *to = array.mutable_data();
        Sequence sequence(seed, Purpose::initial_weights, layer, member);
        for (std::size_t i = 0; i < n; ++i)
          to[i] = normal ? sequence.normal() : sequence.uniform();
        return array;
      },
      "kind"_a, "n"_a, "seed"_a, "layer"_a, "member"_a,
      "Random numbers for initial weights: uniform in [0, 1) or standard normal.");
  m.def(
      "permutation",
      [](std::size_t n, std::uint64_t seed, std::size_t member, std::uint64_t epoch) {
        py::array_t<std::int64_t> array(static_cast<py::ssize_t>(n));
        std::int64_t *to = array.mutable_data();
        for (std::size_t i = 0; i < n; ++i)
          to[i] = static_cast<std::int64_t>(i);
        Sequence sequence(seed, Purpose::shuffle, 0, member, epoch);
        for (std::size_t i = n; i > 1; --i) // Fisher and Yates, from the back
          std::swap(to[i - 1], to[sequence.below(i)]);
        return array;
      },
      "n"_a, "seed"_a, "member"_a, "epoch"_a, "The order of an epoch: 0 to n - 1, shuffled.");
  m.def(
      "poisson_batches",
      [](std::size_t n, double rate, std::uint64_t seed, std::uint64_t first_step,
         std::size_t steps)
          -> py::typing::Tuple<py::array_t<std::int64_t>, py::array_t<std::int64_t>> {
        if (!(rate > 0 && rate <= 1))
          throw py::value_error("rate: expected a probability above 0");
        std::vector<std::int64_t> order, offsets{0};
        const double log_rest = std::log1p(-rate);
        for (std::size_t step = 0; step < steps; ++step) {
          Sequence sequence(seed, Purpose::sample, 0, 0, first_step + step);
          // The examples left out before the next that is in: geometric, floor(log(u) / log(1 -
          // q)).
          for (std::size_t i = 0; i < n; ++i) {
            const double skip =
                rate < 1 ? std::floor(std::log(1 - sequence.uniform()) / log_rest) : 0;
            if (!(skip < static_cast<double>(n - i)))
              break;
            i += static_cast<std::size_t>(skip);
            order.push_back(static_cast<std::int64_t>(i));
          }
          offsets.push_back(static_cast<std::int64_t>(order.size()));
        }
        return py::make_tuple(give_array(order), give_array(offsets));
      },
      "n"_a, "rate"_a, "seed"_a, "first_step"_a, "steps"_a,
      "Batches that each of n rows enters with that probability: (rows, offsets).");
  m.def(
      "philox", [](const Words &counter, std::uint64_t key) { return philox(counter, key); },
      "counter"_a, "key"_a, "Philox4x32-10, for tests.");
}

} // namespace
} // namespace culpa

// Thread safety without the GIL: models carry a lock of their own, the team a mutex, and nothing
// else is shared.
PYBIND11_MODULE(_core, m, pybind11::mod_gil_not_used()) {
  using namespace culpa;
  m.doc() = "Culpa's core: see csrc/ in the repository.";
  try {
    kernels::table();
  } catch (const std::runtime_error &error) {
    throw pybind11::import_error(error.what());
  }
  watch_forks();
  bind_descriptions(m);
  bind_model<float>(m, "Model32");
  bind_model<double>(m, "Model64");
  bind_random(m);
  m.def(
      "find_not_finite",
      [](const py::array &x, const std::string &dtype, double scale) {
        const Source rows =
            source(x, "x", x.ndim() == 2 ? static_cast<std::size_t>(x.shape(1)) : 0);
        const py::gil_scoped_release release; // one pass over the data
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
      [] { return std::vector<std::string>(phase_names.begin(), phase_names.end()); },
      "What a Job's phases count the seconds of, in order.");
  m.def(
      "measure_peak",
      [](bool float64, std::size_t threads, std::size_t rounds) {
        const py::gil_scoped_release release;
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
      "force_plan",
      [](std::size_t threads, const std::string &schedule) {
        force_plan(threads, schedule == "columns" ? 1 : 0);
      },
      "threads"_a, "schedule"_a = "rows",
      "For tests: exactly so many threads, by rows or columns; 0 threads: choose again.");
}
