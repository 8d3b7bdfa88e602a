// What a batch needs while it is worked on: a block of rows carried through all layers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "buffer.h"
#include "data/sparse.h"
#include "network/network.h"
#include "view.h"

namespace culpa {

// Rows of a batch that are in work at once. Larger batches run block by block; the size depends on
// the network's shape alone, so that the bits do not depend on threads or memory. Sparse inputs
// take no room worth counting.
std::size_t rows_per_block(const Network &network, std::size_t item_size, bool sparse = false);

// A piece of the weights whose gradient one thread sums: at most a panel of inputs by some panels
// of outputs. No inputs: the layer's bias.
struct Unit {
  std::size_t layer;
  Range inputs, outputs;
};

// Where one thread puts a row on its way in. Made before the threads set to work: memory that runs
// out among them could not be reported.
struct RowBuffer {
  explicit RowBuffer(std::size_t columns) : raw(columns * sizeof(std::uint64_t)) {}
  Buffer<std::byte> raw; // a row of the source whose columns are strided, side by side
};

template <class T> struct Workspace {
  // flat_gradient: sums of several blocks, or of the whole network before any update, are wanted.
  // all_slopes: also of layers whose h itself tells, for those who put something else there.
  // sparse: the inputs are entries, and there is no hidden[0].
  Workspace(const Network &network, std::size_t rows, std::size_t threads, bool flat_gradient,
            bool all_slopes = false, bool sparse = false);

  std::size_t rows; // capacity
  std::size_t threads;
  bool sparse;
  SparseBlock<T> entries;        // of sparse inputs
  std::vector<Matrix<T>> hidden; // hidden[0]: the inputs, hidden[l + 1]: what layer l gives
  std::vector<Matrix<T>> slopes; // slopes[l]: dh/dz of layer l; no data where h itself tells
  std::vector<Matrix<T>> delta;  // delta[l]: the error signals dL_i/dz of layer l
  std::vector<Unit> units;
  Buffer<double> losses, scores;                 // per row of the block
  Buffer<double> example_squares, layer_squares; // the same: see square_norms
  Buffer<std::int32_t> labels;
  Buffer<T> targets;
  std::vector<RowBuffer> row_buffers; // per thread
  Buffer<T> scratch;                  // per thread: see LossRows
  std::size_t scratch_size;
  Buffer<T> gradient; // flat, the sum over the batch; empty where no call needs it
  Buffer<T> pieces;   // per thread: the gradient of one unit
  std::size_t piece_size;
  Buffer<double> squares, norms; // per unit: sums of squared weights and gradients

private:
  Matrix<T> matrix(std::size_t columns); // carves one out of the storage

  std::size_t stride_rows_;
  std::size_t used_ = 0;
  Buffer<T> storage_;
};

// Whether a layer's slopes are kept in an array: relu and identity can do without.
bool keeps_slopes(const Layer &layer);

} // namespace culpa
