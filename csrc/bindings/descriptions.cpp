// Descriptions and data on their way in: an optimizer, examples, a chunk of training.
#include <string>
#include <utility>
#include <vector>

#include "bindings.h"

namespace culpa {

namespace {

using Maybe = std::optional<py::array>;

void bind_stage(py::module_ &m) {
  py::class_<Stage> stage(m, "Stage", "One stage of a network: its kind and its shape.");
  bind_constructor(
      stage,
      +[](const std::string &kind, std::string name, std::size_t inputs, std::size_t outputs,
          const std::string &activation, double alpha, double dropout, std::size_t skip,
          double epsilon, std::vector<double> learning_rate_factors) {
        return std::make_unique<Stage>(
            Stage{.kind = named(kinds, kind, "kind of stage"),
                  .name = std::move(name),
                  .inputs = inputs,
                  .outputs = outputs,
                  .activation = named(activation_names, activation, "activation"),
                  .alpha = alpha,
                  .dropout = dropout,
                  .skip = skip,
                  .epsilon = epsilon,
                  .learning_rate_factors = std::move(learning_rate_factors)});
      },
      "kind"_a, "name"_a, "inputs"_a, "outputs"_a, py::kw_only(), "activation"_a = "identity",
      "alpha"_a = 0.0, "dropout"_a = 0.0, "skip"_a = 0, "epsilon"_a = 0.0,
      "learning_rate_factors"_a = std::vector<double>());
}

void bind_optimizer(py::module_ &m) {
  py::class_<Optimizer> optimizer(m, "Optimizer", "What an optimizer is, without its moments.");
  bind_constructor(
      optimizer,
      +[](const std::string &rule, double beta_1, double beta_2, double epsilon, double momentum,
          double weight_decay, bool nesterov, bool decoupled, bool decay_per_example,
          bool epsilon_outside, bool velocity, double gradient_scale) {
        return std::make_unique<Optimizer>(Optimizer{.rule = named(rules, rule, "optimizer"),
                                                     .beta_1 = beta_1,
                                                     .beta_2 = beta_2,
                                                     .epsilon = epsilon,
                                                     .momentum = momentum,
                                                     .weight_decay = weight_decay,
                                                     .nesterov = nesterov,
                                                     .decoupled = decoupled,
                                                     .decay_per_example = decay_per_example,
                                                     .epsilon_outside = epsilon_outside,
                                                     .velocity = velocity,
                                                     .gradient_scale = gradient_scale});
      },
      "rule"_a, py::kw_only(), "beta_1"_a = 0.9, "beta_2"_a = 0.999, "epsilon"_a = 1e-8,
      "momentum"_a = 0.0, "weight_decay"_a = 0.0, "nesterov"_a = false, "decoupled"_a = false,
      "decay_per_example"_a = false, "epsilon_outside"_a = false, "velocity"_a = false,
      "gradient_scale"_a = 1.0);
  optimizer.def_readwrite("gradient_scale", &Optimizer::gradient_scale,
                          "What the gradient counts times, weight decay excluded.");
}

void bind_examples(py::module_ &m) {
  py::class_<SparseRows> rows(m, "SparseRows", "A sparse matrix of inputs in CSR form, checked.");
  bind_constructor(
      rows,
      +[](py::array values, py::array indices, const py::array &begins, std::size_t columns,
          const std::string &name) {
        return std::make_unique<SparseRows>(std::move(values), std::move(indices), begins, columns,
                                            name);
      },
      "values"_a, "indices"_a, "begins"_a, "columns"_a, "name"_a);
  rows.def_property_readonly("canonical", &SparseRows::canonical,
                             "Whether the columns of each row rise, as the core wants them to.");

  py::class_<ExampleArrays> examples(m, "ExampleArrays", "Arrays of examples, one row each.");
  bind_constructor(
      examples,
      +[](Inputs x, Maybe labels, Maybe targets, Maybe sample_weights, Maybe order,
          Maybe score_scale, Maybe exact) {
        return std::make_unique<ExampleArrays>(
            ExampleArrays{.x = std::move(x),
                          .labels = std::move(labels),
                          .targets = std::move(targets),
                          .sample_weights = std::move(sample_weights),
                          .order = std::move(order),
                          .score_scale = std::move(score_scale),
                          .exact = std::move(exact)});
      },
      "x"_a, py::kw_only(), "labels"_a = py::none(), "targets"_a = py::none(),
      "sample_weights"_a = py::none(), "order"_a = py::none(), "score_scale"_a = py::none(),
      "exact"_a = py::none());
}

void bind_job(py::module_ &m) {
  py::class_<JobArrays> job(m, "Job",
                            "A chunk of training: batches of examples, and where to report.");
  bind_constructor(
      job,
      +[](ExampleArrays examples, py::array offsets, py::array learning_rates, double clip_norm,
          double seconds, Maybe losses, Maybe weight_sums, Maybe scores, Maybe norms, Maybe squares,
          Maybe phases, double example_clip, double noise, double divisor, std::uint64_t noise_seed,
          Maybe example_losses, Maybe example_scores) {
        return std::make_unique<JobArrays>(JobArrays{.examples = std::move(examples),
                                                     .offsets = std::move(offsets),
                                                     .learning_rates = std::move(learning_rates),
                                                     .clip_norm = clip_norm,
                                                     .seconds = seconds,
                                                     .losses = std::move(losses),
                                                     .weight_sums = std::move(weight_sums),
                                                     .scores = std::move(scores),
                                                     .norms = std::move(norms),
                                                     .squares = std::move(squares),
                                                     .phases = std::move(phases),
                                                     .privacy = {.clip = example_clip,
                                                                 .noise = noise,
                                                                 .divisor = divisor,
                                                                 .noise_seed = noise_seed},
                                                     .example_losses = std::move(example_losses),
                                                     .example_scores = std::move(example_scores)});
      },
      "examples"_a, py::kw_only(), "offsets"_a, "learning_rates"_a, "clip_norm"_a = 0.0,
      "seconds"_a = 0.0, "losses"_a = py::none(), "weight_sums"_a = py::none(),
      "scores"_a = py::none(), "norms"_a = py::none(), "squares"_a = py::none(),
      "phases"_a = py::none(), "example_clip"_a = 0.0, "noise"_a = 0.0, "divisor"_a = 0.0,
      "noise_seed"_a = 0, "example_losses"_a = py::none(), "example_scores"_a = py::none());
}

} // namespace

void bind_descriptions(py::module_ &m) {
  bind_stage(m);
  bind_optimizer(m);
  bind_examples(m);
  bind_job(m);
}

} // namespace culpa
