#include "network/network.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace culpa {

namespace {

constexpr std::size_t line = 16; // 64 bytes of float, 128 of double: one layout for both
constexpr std::size_t most = std::size_t{1} << 40U;
constexpr std::size_t unit_outputs = 512;

std::vector<Declared> arrays_of(Kind kind) {
  std::vector<Declared> arrays;
  for (const Declared &array : kinds[static_cast<std::size_t>(kind)].arrays)
    if (array.name)
      arrays.push_back(array);
  return arrays;
}

std::size_t reserve_array(std::size_t &end, std::size_t rows, std::size_t columns) {
  std::size_t size = 0;
  if (__builtin_mul_overflow(rows, columns, &size) || size > most || end > most)
    throw std::invalid_argument("a layer of " + std::to_string(rows) + " x " +
                                std::to_string(columns) +
                                " weights is larger than any machine's memory; use fewer units");
  const std::size_t begin = end;
  end = (begin + size + line - 1) / line * line;
  return begin;
}

void check_stage(const Network &network, std::size_t s) {
  const Stage &stage = network.stages[s];
  const bool widens = stage.kind == Kind::dense;
  if (stage.inputs == 0 || stage.outputs == 0 || stage.inputs != network.width(s) ||
      (!widens && stage.inputs != stage.outputs))
    throw std::invalid_argument("expected layers whose sizes are positive and fit each other");
  if (stage.kind == Kind::add && (stage.skip > s || network.width(stage.skip) != stage.outputs))
    throw std::invalid_argument("skip: expected an earlier value of the same width");
}

void lay_out(Network &network, std::size_t s) {
  Stage &stage = network.stages[s];
  const std::vector<Declared> declared = arrays_of(stage.kind);
  stage.first_array = network.arrays.size();
  if (!stage.learning_rate_factors.empty() && stage.learning_rate_factors.size() != declared.size())
    throw std::invalid_argument("learning_rate_factors: expected one for each array");
  for (std::size_t i = 0; i < declared.size(); ++i) {
    const Declared &own = declared[i];
    const std::size_t rows = own.matrix ? stage.inputs : 1;
    const std::size_t offset = reserve_array(network.parameters, rows, stage.outputs);
    const bool given = !stage.learning_rate_factors.empty();
    network.arrays.push_back(
        {.name = stage.name + "." + own.name,
         .offset = offset,
         .rows = rows,
         .columns = stage.outputs,
         .vector = !own.matrix,
         .decays = own.decays,
         .learning_rate_factor = given ? stage.learning_rate_factors[i] : 1.0});
  }
}

// Vectors first, then matrices by blocks of outputs: their error signals stay in the second cache
// while the inputs stream by.
void cut_units(Network &network, std::size_t s, std::size_t panel) {
  const Stage &stage = network.stages[s];
  const std::size_t count = arrays_of(stage.kind).size();
  for (std::size_t a = stage.first_array; a < stage.first_array + count; ++a)
    if (const Array &array = network.arrays[a]; array.vector) {
      // A bias is one piece: its layer's weights are pieces enough.
      const std::size_t step = stage.kind == Kind::dense ? array.columns : unit_outputs;
      for (std::size_t j = 0; j < array.columns; j += step)
        network.units.push_back({s, a, {0, 0}, {j, std::min(j + step, array.columns)}});
    }
  for (std::size_t a = stage.first_array; a < stage.first_array + count; ++a)
    if (const Array &array = network.arrays[a]; !array.vector)
      for (std::size_t j = 0; j < array.columns; j += unit_outputs)
        for (std::size_t i = 0; i < array.rows; i += panel)
          network.units.push_back({s,
                                   a,
                                   {i, std::min(i + panel, array.rows)},
                                   {j, std::min(j + unit_outputs, array.columns)}});
}

// Factors keep zeros; a dense layer can read them. Whatever else reads sparse inputs cannot.
std::size_t count_sparse_values(const Network &network) {
  for (std::size_t s = 0; s < network.stages.size(); ++s) {
    const Stage &stage = network.stages[s];
    if (!network.adds[s].empty())
      return 0;
    if (stage.kind == Kind::dense)
      return s + 1;
    if (stage.kind != Kind::scale || stage.activation != Activation::identity || stage.dropout > 0)
      return 0;
  }
  return 0;
}

} // namespace

Network compile(std::vector<Stage> stages, std::size_t panel) {
  if (stages.empty())
    throw std::invalid_argument("a network needs at least one layer");
  Network network;
  network.stages = std::move(stages);
  network.adds.resize(network.stages.size() + 1);
  network.lowest = network.stages.size();
  for (std::size_t s = 0; s < network.stages.size(); ++s) {
    const Stage &stage = network.stages[s];
    check_stage(network, s);
    lay_out(network, s);
    cut_units(network, s, panel);
    if (stage.kind == Kind::dense)
      network.dense.push_back(s);
    if (stage.kind == Kind::add)
      network.adds[stage.skip].insert(network.adds[stage.skip].begin(), s);
    if (network.arrays.size() > stage.first_array)
      network.lowest = std::min(network.lowest, s);
  }
  if (network.arrays.empty())
    throw std::invalid_argument("a network needs at least one layer with weights");
  network.sparse_values = count_sparse_values(network);
  return network;
}

std::size_t Network::values() const {
  std::size_t total = 0;
  for (const Stage &stage : stages)
    total += stage.outputs;
  return total;
}

double Network::flops() const {
  double weights = 0, free = 0; // of the lowest layer, whose inputs get no error signal
  for (std::size_t s = 0; s < stages.size(); ++s)
    if (const Stage &stage = stages[s]; stage.kind == Kind::dense) {
      const double own = static_cast<double>(stage.inputs) * static_cast<double>(stage.outputs);
      weights += own;
      free = s == lowest ? own : free;
    }
  return 6 * weights - 2 * free;
}

} // namespace culpa
