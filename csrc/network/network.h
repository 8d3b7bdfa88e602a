// A network is shapes only: the stages that it consists of, and where each of their arrays lies in
// the one flat parameter vector. Every array begins on a cache line; the gaps hold zeros, and so do
// their gradients.
//
// Values: the inputs are value 0, and what stage s gives is value s + 1. Stage s reads value s.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "kernels/kernels.h"
#include "view.h"

namespace culpa {

enum class Kind : int {
  dense,       // x . weight + bias
  scale,       // x * factor, a factor for each input
  layer_norm,  // (x - mean) / deviation * gain + shift, each row by its own mean and deviation
  elementwise, // x: what follows, an activation or dropout, has no other stage to follow
  add,         // x + another value: the end of a residual
};

// An array that stages of a kind have.
struct Declared {
  const char *name = nullptr; // nullptr: there is none
  bool matrix = false;        // (inputs, outputs), not (outputs)
  bool decays = false;        // whether weight decay applies
};

struct DeclaredKind {
  Kind value;
  const char *name; // to callers of the core
  Declared arrays[2] = {};
};
constexpr DeclaredKind kinds[] = {
    {Kind::dense, "dense", {{"weight", true, true}, {"bias"}}},
    {Kind::scale, "scale", {{"factor"}}},
    {Kind::layer_norm, "layer_norm", {{"gain"}, {"shift"}}},
    {Kind::elementwise, "elementwise"},
    {Kind::add, "add"},
};
static_assert(sizeof kinds / sizeof *kinds == static_cast<std::size_t>(Kind::add) + 1);

// h = dropout(activation(z)), with z as the kind has it
struct Stage {
  Kind kind = Kind::dense;
  std::string name; // "dense_0": how names of its arrays begin
  std::size_t inputs = 0, outputs = 0;
  Activation activation = Activation::identity;
  double alpha = 0;                          // leaky_relu's slope, elu's scale
  double dropout = 0;                        // of what the stage gives, while training
  std::size_t skip = 0;                      // add: the other value
  double epsilon = 0;                        // layer_norm: added to the variance
  std::vector<double> learning_rate_factors; // of each array; empty: 1
  std::size_t first_array = 0;               // noted by compile()
};

// One of the arrays that the parameters consist of, as files and callers of the core know it.
struct Array {
  std::string name; // "dense_0.weight"
  std::size_t offset;
  std::size_t rows, columns; // (inputs, outputs) of a weight; one row: of shape (columns)
  bool vector;
  bool decays; // whether weight decay applies
  double learning_rate_factor;
};

// A piece of an array whose gradient one thread sums: at most a panel of inputs by some panels of
// outputs, or of a vector some panels and no inputs.
struct Unit {
  std::size_t stage, array;
  Range inputs, outputs;

  bool vector() const { return inputs.begin == inputs.end; }
};

// Where a unit lies in memory: rows of `width` values, `stride` apart. A vector is one row.
struct Place {
  std::size_t offset, rows, width, stride;
};

struct Network {
  std::vector<Stage> stages;
  std::vector<Array> arrays;                  // in the order in which they lie in the flat vector
  std::vector<Unit> units;                    // the arrays in pieces
  std::vector<std::size_t> dense;             // which stages are dense layers
  std::vector<std::vector<std::size_t>> adds; // per value: the stages that add it, the last first
  std::size_t lowest = 0;                     // the first stage with arrays
  std::size_t sparse_values = 0; // sparse inputs stay sparse in so many first values; 0: refused
  std::size_t parameters = 0;    // length of the flat vector
  double input_scale = 1;
  double input_dropout = 0;
  LossFunction loss;

  std::size_t inputs() const { return stages.front().inputs; }
  std::size_t outputs() const { return stages.back().outputs; }
  // Of value v.
  std::size_t width(std::size_t v) const { return v ? stages[v - 1].outputs : inputs(); }
  // Of all values but the inputs, and of those too.
  std::size_t values() const;
  // Whether sparse inputs are still sparse in value v.
  bool keeps_sparse(std::size_t v) const { return v < sparse_values; }
  const Array &array(const Stage &stage, std::size_t i) const {
    return arrays[stage.first_array + i];
  }
  // Floating-point operations of one training step, per example: a multiplication and an addition
  // per weight, forward, for the gradient and, but for the lowest layer, backward.
  double flops() const;
  // In the flat vector, and in a piece of its own.
  Place place_in_flat(const Unit &unit) const {
    const Array &own = arrays[unit.array];
    const std::size_t rows = unit.vector() ? 1 : unit.inputs.end - unit.inputs.begin;
    return {own.offset + unit.inputs.begin * own.columns + unit.outputs.begin, rows,
            unit.outputs.end - unit.outputs.begin, own.columns};
  }
  Place place_in_piece(const Unit &unit) const {
    Place place = place_in_flat(unit);
    place.offset = 0;
    place.stride = place.width;
    return place;
  }
};

// Lays out the parameters, and notes what no walk should have to look for. Units are cut for panels
// of that width. Throws std::invalid_argument where a size is zero, does not fit its neighbour, or
// overflows.
Network compile(std::vector<Stage> stages, std::size_t panel);

} // namespace culpa
