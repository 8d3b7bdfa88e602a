// What a batch needs while it is worked on: a block of rows carried through all stages.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "buffer.h"
#include "data/gather.h"
#include "data/sparse.h"
#include "network/network.h"
#include "view.h"

namespace culpa {

// Rows of a batch that are in work at once. Larger batches run block by block; the size depends on
// the network's shape alone, so that the bits do not depend on threads or memory. Sparse inputs
// take no room worth counting.
std::size_t rows_per_block(const Network &network, std::size_t item_size, bool sparse = false);

// What a workspace is for.
struct Room {
  std::size_t rows = 1, threads = 1;
  bool flat_gradient = false; // sums of several blocks, or of the whole network before any update
  bool all_slopes = false; // of stages whose h itself tells, too: others put something else there
  bool sparse = false;     // the inputs are entries
  bool inputs = false;     // error signals of the inputs, too
  bool guesses = false;    // no error signals: few matrices take turns
  bool judges = true;      // guesses are compared with targets
};

template <class T> struct Workspace {
  Workspace(const Network &network, const Room &room);

  std::size_t rows; // capacity
  std::size_t threads;
  bool sparse;
  SparseBlock<T> entries; // of sparse inputs
  // Per value, and per stage. No data: of sparse values, and where a stage needs none.
  std::vector<Matrix<T>> hidden;
  std::vector<Matrix<T>> slopes;     // dh/dz; no data where h itself tells
  std::vector<Matrix<T>> delta;      // the error signals dL_i/dz
  Matrix<T> input_delta;             // those of the inputs
  std::vector<Matrix<T>> normalized; // layer_norm: (x - mean) / deviation
  std::vector<Matrix<T>> products;   // delta times what the first vector multiplies, elementwise
  std::vector<T *> inverses;         // layer_norm: 1 / deviation of each row
  Buffer<double> losses, scores;     // per row of the block
  Buffer<double> example_squares, stage_squares; // the same: see square_norms
  Buffer<std::int32_t> labels;
  Buffer<T> targets;
  std::vector<RowBuffer> row_buffers; // per thread
  Buffer<T> scratch;                  // per thread: see LossRows
  std::size_t scratch_size = 0;
  Buffer<T> gradient; // flat, the sum over the batch; empty where no call needs it
  Buffer<T> pieces;   // per thread: the gradient of one unit
  std::size_t piece_size = 0;
  Buffer<double> squares, norms; // per unit: sums of squared weights and gradients

private:
  // The storage is measured first, then dealt out.
  void place_values(const Network &network, const Room &room);
  void place_guesses(const Network &network);
  void place_inverses(const Network &network);
  void make_room_to_judge(const Network &network);
  void make_room_to_train(const Network &network, bool flat_gradient);
  Matrix<T> matrix(std::size_t columns);

  std::size_t stride_rows_ = 0;
  std::size_t used_ = 0;
  Buffer<T> storage_, inverse_storage_;
};

// Whether a stage's slopes are kept in an array: relu and identity can do without.
bool keeps_slopes(const Stage &stage);

} // namespace culpa
