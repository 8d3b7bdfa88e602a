// What the methods of attribution share: the space that a thread works in, and the walk from an
// entry to an output and back. The entry is what lies farthest from the inputs and still is affine
// in them: z of the first dense layer, mostly. So points between inputs need no product of the
// widest layer, and error signals are summed before they go back through it.
//
// Rows of a block are laid out as [point][baseline][row of x], the last running fastest.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "answers/attribution/attribute.h"
#include "random.h"
#include "stages/walk.h"

namespace culpa {

enum class Method : int {
  gradient, // df/dx at x
  path,     // integrated gradients, and conductance where nodes are wanted
  expected, // expected gradients: points drawn on paths from baselines drawn from the set
  smooth,   // SmoothGrad: the mean gradient around x
  deeplift, // the rescale rule
  lrp,      // layer-wise relevance propagation, the epsilon rule
};
constexpr Name<Method> method_names[] = {
    {Method::gradient, "gradient"}, {Method::path, "path"},         {Method::expected, "expected"},
    {Method::smooth, "smooth"},     {Method::deeplift, "deeplift"}, {Method::lrp, "lrp"},
};
static_assert(sizeof method_names / sizeof *method_names ==
              static_cast<std::size_t>(Method::lrp) + 1);

// How much one thread carries at a time: rows of x, baselines (or draws) for each of them, and
// points on each path. No choice here shows in the bits: the sums of a row go through its baselines
// in order, and through the points of each.
struct Portion {
  std::size_t height = 1, tile = 1, together = 1;

  std::size_t pairs() const { return height * tile; } // of a row and a baseline
  std::size_t rows() const { return pairs() * together; }
};

// Baselines in the rows of a matrix: number t of row r lies in row(t, r).
template <class T> struct Baselines {
  Matrix<T> matrix;
  std::size_t count = 0; // rows of the matrix
  std::size_t stride_t = 0, stride_r = 0;

  std::size_t row(std::size_t t, std::size_t r) const { return t * stride_t + r * stride_r; }
};

// What one thread works in.
template <class T> struct AttributeSpace {
  AttributeSpace(const Network &network, const AttributeJob &job, const Portion &portion,
                 bool nodes, const T *lowest_weight);

  const T *lowest_weight; // see Pass
  std::size_t entry;      // stages up to it
  Workspace<T> path;      // the rows of a block
  std::size_t height;
  std::unique_ptr<Workspace<T>> end;     // deeplift: rows of x, and from row `height` on baselines
  std::unique_ptr<Workspace<T>> tangent; // nodes: derivatives of all values along the path
  Buffer<T> storage;                     // of the matrices below
  Matrix<T> x, baselines;                // scaled inputs; some lie in hidden[0] of the above
  Matrix<T> gradient;                    // df/dx of the scaled inputs, (pairs, inputs)
  Matrix<T> top;                         // the entry at x
  Matrix<T> start, way;                  // (pairs): the entry at the baseline, from there to x
  Matrix<T> sum;                         // (pairs): error signals of the entry, weighted
  Buffer<double> values;                 // (height, inputs): the sum over several baselines
  Buffer<double> nodes;                  // (height, units of all hidden layers)
  std::vector<Sequence> streams;         // expected: of each row
  Buffer<std::int64_t> drawn;            // expected: (pairs) rows of the background
  Buffer<double> points;                 // expected: (pairs)
  Buffer<T> noise;                       // smooth: (together, inputs), row-major
  Buffer<T> deviation;                   // smooth: (inputs), of the scaled inputs

  // The entry's values, before any activation, and its error signals.
  Matrix<T> entries() const { return path.hidden[entry]; }
  Matrix<T> signals() const { return entry ? path.delta[entry - 1] : path.input_delta; }
};

template <class T> T at(Matrix<T> matrix, std::size_t row, std::size_t column) {
  const auto panel = kernels::active<T>().panel;
  return matrix.data[column / panel * matrix.stride + row * panel + column % panel];
}

// The same matrix from some row on.
template <class T> Matrix<T> from_row(Matrix<T> matrix, std::size_t row) {
  return {matrix.data + row * kernels::active<T>().panel, matrix.stride, matrix.columns};
}

// What the rows of x make of the entry, into `to`.
template <class T>
void walk_to_entry(const Model<T> &model, AttributeSpace<T> &space, Matrix<T> x, Matrix<T> to,
                   std::size_t rows);

// From the entry to the outputs.
template <class T>
void forward_rest(const Model<T> &model, AttributeSpace<T> &space, std::size_t rows);

// From the inputs in hidden[0] to the outputs, with all slopes; z of every stage goes where its
// error signals will be.
template <class T> void forward_with_z(const Model<T> &model, Workspace<T> &space, Range rows);

// From outputs to the error signals of the entry; row r asks about targets[r % count].
template <class T>
void backward_rest(const Model<T> &model, AttributeSpace<T> &space, std::size_t rows,
                   const std::int64_t *targets, std::size_t count);

// gradient = df/dx from error signals of the entry.
template <class T>
void back_to_inputs(const Model<T> &model, AttributeSpace<T> &space, Matrix<T> signals,
                    std::size_t rows);

// path.cpp: the baselines' and x's entries become start and way of each pair.
template <class T>
void lay_paths(AttributeSpace<T> &space, const Baselines<T> &baselines, Matrix<T> z,
               std::size_t tile, std::size_t count);

// Points on paths, the same on all or one on each.
struct Points {
  const double *points, *weights;
  std::size_t steps;
  bool own; // points[pair], and one step
};

// path.cpp: sums the entry's error signals over the points of each pair, into sum, and adds
// conductances to nodes where those are wanted.
template <class T>
void walk_paths(const Model<T> &model, const Points &points, AttributeSpace<T> &space,
                std::size_t tile, std::size_t count, const std::int64_t *targets, const Crew &crew);

// expected.cpp: starts the streams of a block's rows, and draws the next baselines and points.
template <class T> void start_draws(const AttributeJob &job, AttributeSpace<T> &space, Range rows);
template <class T>
void draw_pairs(const AttributeJob &job, AttributeSpace<T> &space, std::size_t tile,
                std::size_t count);

// smooth.cpp: sums the entry's error signals over points around x, into sum.
template <class T>
void walk_around(const Model<T> &model, const AttributeJob &job, AttributeSpace<T> &space,
                 Range rows, const std::int64_t *targets, const Crew &crew);

// deeplift.cpp: the slopes of the rescale rule for each pair, from the ends of their paths.
template <class T>
void rescale_slopes(const Network &network, AttributeSpace<T> &space, const Baselines<T> &baselines,
                    std::size_t tile, std::size_t count);

// lrp.cpp: the slopes of the epsilon rule, after forward_with_z.
template <class T>
void relevance_slopes(const Network &network, Workspace<T> &space, std::size_t rows,
                      double epsilon);

// answers.cpp

// Notes which output each row asks about, and f(x).
template <class T>
void choose_targets(const AttributeJob &job, Matrix<T> outputs, Range rows,
                    const AttributeOut<T> &out);

// f(baseline) of each row's own.
template <class T>
void note_baseline(Matrix<T> outputs, const Baselines<T> &baselines, Range rows,
                   const AttributeOut<T> &out);

// A block's values from its gradients, and their sums; without baselines they count as zeros.
template <class T>
void write_values(const Network &network, const AttributeJob &job, const AttributeSpace<T> &space,
                  const Baselines<T> &baselines, Range rows, const AttributeOut<T> &out);

// Adds (x - baseline) * gradient of `tile` baselines to each row's values, in order.
template <class T>
void add_values(AttributeSpace<T> &space, const Baselines<T> &baselines, std::size_t tile,
                std::size_t count);

template <class T>
void write_mean_values(const AttributeSpace<T> &space, std::size_t baselines, Range rows,
                       const AttributeOut<T> &out);

template <class T>
void write_nodes(const Network &network, const AttributeSpace<T> &space, std::size_t baselines,
                 Range rows, const AttributeOut<T> &out);

} // namespace culpa
