// What models can be asked: guesses, blame, influence, attributions.
#include <algorithm>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "answers/attribution/attribute.h"
#include "answers/attribution/attribution.h"
#include "answers/blame.h"
#include "answers/influence.h"
#include "answers/predict.h"
#include "bindings.h"
#include "stages/stage.h"

namespace culpa {
namespace {

// What an attribution is asked for.
struct Asked {
  const py::array &x;
  const std::string &method;
  const std::optional<py::array> &targets, &baseline, &background, &points, &weights, &noise;
  std::size_t samples;
  std::uint64_t seed;
  double epsilon;
  bool times_inputs, nodes;
};

// The deeplift and lrp rules know stages whose values do not depend on each other.
template <class T> void check_rule(const Network &network, const Asked &asked) {
  for (const Stage &stage : network.stages)
    if (stage_kind<T>(stage.kind).whole_rows)
      throw py::value_error("method: \"" + asked.method + "\" has no rule for " + stage.name +
                            ", whose values depend on each other; use another method, such as "
                            "integrated gradients");
}

// Checks that the method has all that it reads.
template <class T> AttributeJob attribute_job(const Model<T> &model, const Asked &asked) {
  AttributeJob job;
  job.method = named(method_names, asked.method, "method");
  if (job.method == Method::deeplift || job.method == Method::lrp)
    check_rule<T>(model.network, asked);
  job.x = source(asked.x, "x", model.network.inputs());
  const std::size_t rows = job.x.rows;
  const bool path = job.method == Method::path, expected = job.method == Method::expected;
  const bool smooth = job.method == Method::smooth;
  const bool compares = path || expected || job.method == Method::deeplift;
  const bool has_baseline = asked.baseline.has_value(), has_set = asked.background.has_value();
  if ((has_baseline && has_set) || (has_baseline || has_set) != compares ||
      (expected && has_baseline))
    throw py::value_error("baseline, background: expected what the method compares to");
  if (has_baseline) {
    job.baseline = source(*asked.baseline, "baseline", model.network.inputs());
    if (job.baseline.rows != rows && job.baseline.rows != 1)
      throw py::value_error("baseline: expected one row, or as many as x");
    if (job.baseline.rows == 1)
      job.baseline.row_stride = 0;
  }
  if (has_set) {
    job.background = source(*asked.background, "background", model.network.inputs());
    if (job.background.rows == 0)
      throw py::value_error("background: expected at least one row");
  }
  if (asked.targets) {
    job.targets = vector<std::int64_t>(*asked.targets, "targets", rows);
    for (std::size_t i = 0; i < rows; ++i)
      if (job.targets[i] < 0 || static_cast<std::size_t>(job.targets[i]) >= model.network.outputs())
        throw py::value_error("targets: expected outputs of the model");
  }
  if (path != (asked.points && asked.weights))
    throw py::value_error("points, weights: expected those of the path");
  if (path) {
    job.steps = static_cast<std::size_t>(asked.points->size());
    job.points = vector<double>(*asked.points, "points", job.steps);
    job.weights = vector<double>(*asked.weights, "weights", job.steps);
  }
  if ((expected || smooth) != (asked.samples > 0))
    throw py::value_error("samples: expected the number of draws");
  if (smooth != asked.noise.has_value())
    throw py::value_error("noise: expected the standard deviation of each input");
  if (smooth)
    job.noise = vector<double>(*asked.noise, "noise", model.network.inputs());
  if (job.method == Method::lrp && !(asked.epsilon > 0))
    throw py::value_error("epsilon: expected a positive number");
  job.samples = asked.samples;
  job.seed = asked.seed;
  job.epsilon = asked.epsilon;
  job.times_inputs = asked.times_inputs;
  return job;
}

template <class T>
py::typing::Dict<py::str, py::object> blame_answer(const Model<T> &model,
                                                   const ExampleArrays &arrays,
                                                   const std::set<std::string> &want) {
  const ExamplesView examples = arrays.view(model);
  const Network &network = model.network;
  const std::size_t rows = examples.x.rows;
  if (want.count("read") && examples.x.sparse())
    throw py::type_error("x: expected dense rows");
  py::typing::Dict<py::str, py::object> answer;
  BlameOut<T> out;
  const auto give = [&](const char *name, auto array) {
    answer[name] = array;
    return array.mutable_data();
  };
  const auto per_row = [&](const char *name) {
    return give(name, py::array_t<double>(static_cast<py::ssize_t>(rows)));
  };
  const auto per_layer = [&](const char *name, std::vector<T *> &to, auto width) {
    if (!want.count(name))
      return;
    py::list list;
    for (const std::size_t s : network.dense) {
      auto array = make_array<T>(rows, network.stages[s].*width);
      to.push_back(array.mutable_data());
      list.append(array);
    }
    answer[name] = list;
  };
  out.losses = per_row("losses");
  per_layer("nodes", out.nodes, &Stage::outputs);
  per_layer("hidden", out.hidden, &Stage::outputs);
  per_layer("slopes", out.slopes, &Stage::outputs);
  per_layer("read", out.read, &Stage::inputs);
  if (want.count("inputs"))
    out.inputs = give("inputs", make_array<T>(rows, network.inputs()));
  if (want.count("gradient_norms"))
    out.gradient_norms = per_row("gradient_norms");
  if (want.count("gradient"))
    out.gradient = give("gradient", py::array_t<T>(static_cast<py::ssize_t>(network.parameters)));
  const LossSums sums = compute_answer([&] {
    const Reading reading(model.guard, false);
    return blame(model, examples, rows, out, num_threads(), on_signals);
  });
  answer["loss_sum"] = sums.loss;
  answer["weight_sum"] = sums.weight;
  answer["row"] = give_row(sums.row);
  return answer;
}

template <class T>
py::typing::Dict<py::str, py::object>
influence_answer(const std::vector<const Model<T> *> &models, const py::array &factors,
                 const ExampleArrays &train, const ExampleArrays &test, std::size_t top) {
  InfluenceJob<T> job;
  if (models.empty())
    throw py::value_error("models: expected at least one");
  for (const Model<T> *model : models) {
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
  const InfluenceResult result = compute_answer([&] {
    const WithoutGil release;
    std::vector<Guard *> guards;
    guards.reserve(models.size());
    for (const Model<T> *model : models)
      guards.push_back(&model->guard);
    const auto holds = hold_all(guards, Access::read, on_signals);
    return influence(job, out, num_threads(), on_signals);
  });
  answer["train_row"] = give_row(result.train_row);
  answer["test_row"] = give_row(result.test_row);
  return answer;
}

template <class T>
py::typing::Tuple<py::array, py::int_> predict_answer(const Model<T> &model, const Inputs &x,
                                                      bool classes) {
  const ExamplesView examples{.x = inputs_of(model, x), .y = {}};
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
  const PredictResult result = compute_answer([&] {
    const Reading reading(model.guard, rows * model.network.parameters < brief_work);
    return predict(model, examples, rows, out, num_threads(), on_signals);
  });
  return py::make_tuple(answer, give_row(result.row));
}

template <class T>
py::typing::Tuple<py::array_t<double>, py::array_t<double>, py::int_>
evaluate_answer(const Model<T> &model, const ExampleArrays &arrays) {
  const ExamplesView examples = arrays.view(model);
  const std::size_t rows = examples.x.rows;
  py::array_t<double> losses(static_cast<py::ssize_t>(rows));
  py::array_t<double> scores(static_cast<py::ssize_t>(rows));
  PredictOut<T> out;
  out.losses = losses.mutable_data();
  out.scores = scores.mutable_data();
  const PredictResult result = compute_answer([&] {
    const Reading reading(model.guard, false);
    return predict(model, examples, rows, out, num_threads(), on_signals);
  });
  return py::make_tuple(losses, scores, give_row(result.row));
}

template <class T>
py::typing::Dict<py::str, py::object> attribute_answer(const Model<T> &model, const Asked &asked) {
  const AttributeJob job = attribute_job(model, asked);
  if (asked.nodes && job.method != Method::path)
    throw py::value_error("nodes: expected paths to sum over");
  const std::size_t rows = job.x.rows;
  const auto length = static_cast<py::ssize_t>(rows);
  const bool compares = asked.baseline || asked.background;

  py::typing::Dict<py::str, py::object> answer;
  AttributeOut<T> out;
  auto values = make_array<T>(rows, model.network.inputs());
  py::array_t<std::int64_t> targets(length);
  py::array_t<T> outputs(length), baseline_outputs(compares ? length : 0);
  py::array_t<double> sums(length);
  out.values = values.mutable_data();
  out.targets = targets.mutable_data();
  out.outputs = outputs.mutable_data();
  out.baseline_outputs = baseline_outputs.mutable_data();
  out.sums = sums.mutable_data();
  py::list of_layers;
  for (std::size_t l = 0; asked.nodes && l + 1 < model.network.dense.size(); ++l) {
    const Stage &stage = model.network.stages[model.network.dense[l]];
    auto layer = make_array<T>(rows, stage.outputs);
    out.nodes.push_back(layer.mutable_data());
    of_layers.append(layer);
  }
  const AttributeResult result = compute_answer([&] {
    const Reading reading(model.guard, false);
    return attribute(model, job, out, num_threads(), on_signals);
  });
  answer["values"] = values;
  answer["targets"] = targets;
  answer["outputs"] = outputs;
  answer["baseline_outputs"] = baseline_outputs;
  answer["sums"] = sums;
  answer["nodes"] = of_layers;
  answer["row"] = give_row(result.x_row);
  answer["baseline_row"] = give_row(result.baseline_row);
  return answer;
}

} // namespace

template <class T> void bind_answers(py::class_<Model<T>> &model) {
  using M = Model<T>;
  using Maybe = std::optional<py::array>;
  model
      .def("blame", &blame_answer<T>, "examples"_a, py::kw_only(), "want"_a,
           "The walk of a step without the update, and what is asked of it: any of nodes, hidden, "
           "slopes, read (of dense rows), inputs, gradient_norms and gradient.")
      .def_static(
          "influence", &influence_answer<T>, "models"_a, py::kw_only(), "factors"_a, "train"_a,
          "test"_a, "top"_a = 0,
          "Sums over models of factor * dot products of the examples' gradients (tests, trains), "
          "or the top highest and lowest of each test.")
      .def(
          "predict", &predict_answer<T>, "x"_a, "classes"_a = false,
          "The outputs (n, outputs) or the class of each row; and a row that is not finite, or -1.")
      .def("evaluate", &evaluate_answer<T>, "examples"_a,
           "Each row's loss and score; and a row that is not finite, or -1.")
      .def(
          "attribute",
          [](const M &model, const py::array &x, const std::string &method, const Maybe &targets,
             const Maybe &baseline, const Maybe &background, const Maybe &points,
             const Maybe &weights, const Maybe &noise, std::size_t samples, std::uint64_t seed,
             double epsilon, bool times_inputs, bool nodes) {
            return attribute_answer(model, {.x = x,
                                            .method = method,
                                            .targets = targets,
                                            .baseline = baseline,
                                            .background = background,
                                            .points = points,
                                            .weights = weights,
                                            .noise = noise,
                                            .samples = samples,
                                            .seed = seed,
                                            .epsilon = epsilon,
                                            .times_inputs = times_inputs,
                                            .nodes = nodes});
          },
          "x"_a, py::kw_only(), "method"_a = "gradient", "targets"_a = py::none(),
          "baseline"_a = py::none(), "background"_a = py::none(), "points"_a = py::none(),
          "weights"_a = py::none(), "noise"_a = py::none(), "samples"_a = 0, "seed"_a = 0,
          "epsilon"_a = 0.0, "times_inputs"_a = false, "nodes"_a = false,
          "What each input did to one output per row, by the method's definition.");
}

template void bind_answers(py::class_<Model<float>> &);
template void bind_answers(py::class_<Model<double>> &);

} // namespace culpa
