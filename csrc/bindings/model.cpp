// Models: their parameters, their optimizer, and training.
#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bindings.h"

namespace culpa {
namespace {

template <class T>
std::unique_ptr<Model<T>> make_model(std::vector<Stage> stages, const std::string &loss,
                                     const std::map<std::string, double> &loss_parameters,
                                     double input_scale, double input_dropout, std::uint64_t seed,
                                     std::size_t member, double loss_limit) {
  Network network = compile(std::move(stages), kernels::active<T>().panel);
  network.loss.kind = named(loss_names, loss, "loss");
  for (const auto &[name, value] : loss_parameters)
    network.loss.*named(loss_parameter_names, name, "parameter of a loss") = value;
  network.loss.limit = loss_limit;
  network.input_scale = input_scale;
  network.input_dropout = input_dropout;
  return std::make_unique<Model<T>>(std::move(network), seed, member);
}

using ResultTuple = py::typing::Tuple<py::int_, py::str, py::int_>;

ResultTuple to_tuple(TrainResult result) {
  if (PyErr_Occurred()) // a signal handler raised
    throw py::error_already_set();
  if (result.stop == Stop::interrupted) // in a child that a handler forked off: it goes on
    result.stop = Stop::time;
  return py::make_tuple(result.steps, name_of(stop_names, result.stop),
                        result.row == no_row ? py::ssize_t{-1}
                                             : static_cast<py::ssize_t>(result.row));
}

// A read-only array over the core's own memory, which `owner` keeps alive.
template <class T>
py::array_t<T> read_only(const std::vector<std::size_t> &shape, const T *data,
                         const py::object &owner) {
  py::array_t<T> array(shape, data, owner);
  array.attr("setflags")("write"_a = false);
  return array;
}

std::vector<std::size_t> shape_of(const Array &array) {
  if (array.vector)
    return {array.columns};
  return {array.rows, array.columns};
}

// Compares bits in one pass: NumPy takes longer for that than the core for a guess about one row.
template <class T>
bool holds(const Model<T> &model, const std::vector<py::object> &weights,
           const std::vector<py::object> &biases) {
  using Own = py::array_t<T, py::array::c_style>;
  const std::size_t layers = model.network.dense.size();
  if (weights.size() != layers || biases.size() != layers)
    return false;
  struct Pair {
    py::object given; // alive while they are compared
    const T *own, *other;
    std::size_t size;
  };
  std::vector<Pair> pairs;
  pairs.reserve(2 * layers);
  const auto add = [&](py::object given, const Array &own) {
    if (!py::isinstance<Own>(given))
      return false;
    const auto array = py::reinterpret_borrow<py::array>(given);
    const std::vector<std::size_t> shape = shape_of(own);
    if (!std::equal(shape.begin(), shape.end(), array.shape(), array.shape() + array.ndim(),
                    [](std::size_t a, py::ssize_t b) { return static_cast<py::ssize_t>(a) == b; }))
      return false;
    pairs.push_back({std::move(given), model.parameters.values.data() + own.offset,
                     static_cast<const T *>(array.data()), own.rows * own.columns});
    return true;
  };
  for (std::size_t i = 0; i < layers; ++i) {
    const Stage &stage = model.network.stages[model.network.dense[i]];
    if (!add(weights[i], model.network.array(stage, 0)) ||
        !add(biases[i], model.network.array(stage, 1)))
      return false;
  }
  const Reading reading(model.guard, model.network.parameters < brief_work);
  return std::all_of(pairs.begin(), pairs.end(), [](const Pair &pair) {
    return std::memcmp(pair.own, pair.other, pair.size * sizeof(T)) == 0;
  });
}

using NamedArray =
    py::typing::Tuple<py::str, py::int_, py::typing::Tuple<py::int_, py::ellipsis>, py::bool_>;

py::typing::List<NamedArray> arrays_of(const Network &network) {
  py::typing::List<NamedArray> all;
  for (const Array &array : network.arrays)
    all.append(py::make_tuple(array.name, array.offset, py::tuple(py::cast(shape_of(array))),
                              array.decays));
  return all;
}

template <class T>
using State = py::typing::Tuple<py::array_t<T>, py::array_t<T>, py::array_t<T>, py::int_, py::int_>;

template <class T> State<T> state(const Model<T> &model) {
  std::vector<T> parameters, first, second;
  std::uint64_t updates = 0, steps = 0;
  {
    const WithoutGil release; // a writer may hold the guard
    const Hold hold(model.guard, Access::read, on_signals);
    const auto copy = [](const Buffer<T> &from) {
      return std::vector<T>(from.data(), from.data() + from.size());
    };
    parameters = copy(model.parameters.values);
    first = copy(model.moments.first);
    second = copy(model.moments.second);
    updates = model.moments.steps;
    steps = model.steps;
  }
  return py::make_tuple(give_array(parameters), give_array(first), give_array(second), updates,
                        steps);
}

template <class T> void bind_parameters(py::class_<Model<T>> &model) {
  using M = Model<T>;
  model
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
              const WithoutGil release; // a writer may hold the guard
              const Hold hold(model.guard, Access::read, on_signals);
              std::copy_n(model.parameters.values.data(), model.network.parameters, to);
            }
            return copy;
          },
          "A copy of the flat parameter vector, all of one step.")
      .def(
          "array",
          [](const py::object &self, const std::string &name) {
            M &model = self.cast<M &>();
            for (const Array &array : model.network.arrays)
              if (array.name == name)
                return read_only<T>(shape_of(array), model.parameters.values.data() + array.offset,
                                    self);
            throw py::key_error("no such array: \"" + name + "\"");
          },
          "name"_a, "One of the arrays, a read-only view.")
      .def(
          "arrays", [](const M &model) { return arrays_of(model.network); },
          "The arrays that the flat vector consists of, in its order: (name, offset, shape, "
          "whether weight decay applies).")
      .def(
          "set_parameters",
          [](M &model, const py::array &values) {
            const T *from = vector<T>(values, "values", model.network.parameters);
            const WithoutGil release; // readers may hold the guard
            const Hold hold(model.guard, Access::write, on_signals);
            std::copy_n(from, model.network.parameters, model.parameters.values.data());
            model.parameters.repack_all(model.network);
          },
          "values"_a, "Replaces the whole flat vector.")
      .def("holds", &holds<T>, "weights"_a, "biases"_a,
           "Whether each dense layer has these very weights and biases: C-contiguous arrays of the "
           "model's dtype, the same to the last bit.");
}

// The optimizer and its memory.
template <class T> void bind_optimizer(py::class_<Model<T>> &model) {
  using M = Model<T>;
  model
      .def(
          "set_optimizer",
          [](M &model, const Optimizer &optimizer) {
            const WithoutGil release;
            const Hold hold(model.guard, Access::write, on_signals);
            set_optimizer(model, optimizer);
          },
          "optimizer"_a, "Sets the optimizer, with fresh moments.")
      .def("state", &state<T>,
           "Copies of all that training changes, of one step: the parameters, the optimizer's two "
           "moments (empty where it keeps none) and its steps, and the model's steps.")
      .def(
          "moments",
          [](const M &model) -> py::typing::Tuple<py::array_t<T>, py::array_t<T>, py::int_> {
            const py::tuple all = state(model);
            return py::make_tuple(all[1], all[2], all[3]);
          },
          "Copies of the optimizer's two moments (empty where it keeps none), and its steps.")
      .def(
          "set_moments",
          [](M &model, const py::array &first, const py::array &second, std::uint64_t steps) {
            const T *one = vector<T>(first, "first", model.moments.first.size());
            const T *two = vector<T>(second, "second", model.moments.second.size());
            const WithoutGil release;
            const Hold hold(model.guard, Access::write, on_signals);
            std::copy_n(one, model.moments.first.size(), model.moments.first.data());
            std::copy_n(two, model.moments.second.size(), model.moments.second.data());
            model.moments.steps = steps;
          },
          "first"_a, "second"_a, "steps"_a, "Restores what moments() gave.");
}

template <class T> void bind_training(py::class_<Model<T>> &model) {
  using M = Model<T>;
  model
      .def_property(
          "steps",
          [](const M &model) {
            const Reading reading(model.guard, true);
            return model.steps;
          },
          [](M &model, std::uint64_t steps) {
            const WithoutGil release;
            const Hold hold(model.guard, Access::write, on_signals);
            model.steps = steps;
          },
          "Batches trained on: the counter of dropout's random numbers.")
      .def(
          "train",
          [](M &model, const JobArrays &arrays) {
            const TrainJob job = arrays.view(model);
            TrainResult result;
            {
              // The arrays are checked and alive; nothing below touches Python but the poll.
              const WithoutGil release;
              const Hold hold(model.guard, Access::write, on_signals);
              result = train(model, job, num_threads(), on_signals);
            }
            return to_tuple(result);
          },
          "job"_a, "Trains a chunk; gives (steps done, why it stopped, row that is not finite).")
      .def(
          "apply",
          [](M &model, const py::array &gradient, double learning_rate, double weight_sum) {
            const T *g = vector<T>(gradient, "gradient", model.network.parameters);
            const WithoutGil release;
            const Hold hold(model.guard, Access::write, on_signals);
            apply(model, g, learning_rate, weight_sum, num_threads());
          },
          "gradient"_a, "learning_rate"_a, "weight_sum"_a = 1.0,
          "One optimizer step with a given flat gradient.");
}

template <class T>
py::typing::List<ResultTuple>
train_models_side_by_side(const std::vector<Model<T> *> &models,
                          const std::vector<const JobArrays *> &arrays) {
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
    const WithoutGil release;
    std::vector<Guard *> guards;
    guards.reserve(models.size());
    for (const Model<T> *model : models)
      guards.push_back(&model->guard);
    const auto holds = hold_all(guards, Access::write, on_signals);
    train_side_by_side(models, jobs, results, num_threads(), on_signals);
  }
  py::typing::List<ResultTuple> answer;
  for (const TrainResult &result : results)
    answer.append(to_tuple(result));
  return answer;
}

template <class T> void bind_model(py::module_ &m, const char *name) {
  py::class_<Model<T>> model(m, name, "A network with its weights and its optimizer's memory.");
  bind_constructor(model, &make_model<T>, py::kw_only(), "stages"_a, "loss"_a, "loss_parameters"_a,
                   "input_scale"_a, "input_dropout"_a, "seed"_a, "member"_a, "loss_limit"_a = 0.0);
  bind_parameters(model);
  bind_optimizer(model);
  bind_training(model);
  bind_answers<T>(model);
  m.def("train_side_by_side", &train_models_side_by_side<T>, "models"_a, "jobs"_a,
        "A chunk of several models: the same number of steps of each.");
}

} // namespace

void bind_models(py::module_ &m) {
  m.def(
      "arrays_of",
      [](std::vector<Stage> stages) {
        return arrays_of(compile(std::move(stages), kernels::active<float>().panel));
      },
      "stages"_a, "What `arrays` gives of a model of these stages, which is not built.");
  bind_model<float>(m, "Model32");
  bind_model<double>(m, "Model64");
}

} // namespace culpa
