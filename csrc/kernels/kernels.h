// The contract between the portable code and the kernels: one struct of function pointers for each
// instruction set and scalar type. Everything here is plain data, without inline functions, because
// the kernel files are compiled for CPUs that the rest of the program must not assume.
//
// Layout. A matrix with one row per example (inputs, hidden values, error signals) is kept in
// *panels*: panel p holds columns [p * P, (p + 1) * P) of all rows, row after row, where P is two
// SIMD registers. So each product streams both operands from memory in order, at any width, and no
// row stride can ever fall on the same cache sets. `stride` is the distance between panels.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kinds.h"

namespace culpa::kernels {

struct Range {
  std::size_t begin, end;
};

// What becomes of a product before it is stored: relu, or the slope of relu.
enum class End : int { plain, relu, masked };

// y (rows, outputs) = x (rows, inputs) . w (inputs, outputs) + bias
template <class T> struct Product {
  const T *x; // panels
  std::size_t x_stride;
  const T *w;    // panels of w: each (inputs, P), one after the other
  const T *bias; // padded to whole panels; nullptr: none
  T *y;          // panels
  std::size_t y_stride;
  std::size_t inputs, outputs;
  End end = End::plain;
  const T *mask = nullptr; // panels like y's: End::masked keeps y where mask > 0
};

// g (inputs, outputs) = x^T (inputs, rows) . d (rows, outputs), for columns [outputs.begin,
// outputs.end) of g and those rows of g whose inputs lie in one panel of x.
template <class T> struct Outer {
  const T *x; // one panel
  const T *d; // panels
  std::size_t d_stride;
  std::size_t rows;
  T *g; // where its first element to fill lies; rows g_width apart
  std::size_t g_width;
  std::size_t inputs; // rows of g to fill, at most P
  Range outputs;      // begins at a whole panel
  bool accumulate;    // add to g: the batch has several blocks
};

// Copies of one weight matrix that the products read, for rows [inputs.begin, inputs.end) and
// columns [outputs.begin, outputs.end) of it.
template <class T> struct Pack {
  const T *w; // (inputs, outputs), row-major
  std::size_t n_inputs, n_outputs;
  Range inputs, outputs; // both begin at a whole panel
  T *forward;            // panels of w; nullptr: not wanted
  T *backward;           // panels of w transposed; nullptr: not wanted
};

constexpr std::size_t no_row = ~std::size_t{0};

// Rows of a data source, converted and scaled, into panels; the last register of a row is filled up
// with zeros.
template <class T> struct Gather {
  DType type;
  const void *source;        // row 0; the columns of a row lie side by side, aligned
  std::ptrdiff_t row_stride; // in bytes
  std::size_t columns;
  const std::int64_t *order; // the row at each position; nullptr: the position itself
  Range positions;
  T scale;
  T *to; // panels, whose row 0 is positions.begin
  std::size_t stride;
};

// Rows of a data source, converted, side by side.
template <class T> struct Rows {
  DType type;
  const void *source;                       // row 0
  std::ptrdiff_t row_stride, column_stride; // in bytes, any
  std::size_t columns;
  const std::int64_t *order; // as Gather's
  Range positions;
  T *to; // where the row at positions.begin goes
};

// Rows of a sparse matrix: row r has the entries [begins[r], ends[r]), by rising column.
template <class T> struct Entries {
  const std::size_t *begins, *ends;
  const std::uint32_t *columns;
  const T *values;
};

// y (rows, outputs) = x (rows, inputs) . w (inputs, outputs) + bias, for a sparse x
template <class T> struct SparseProduct {
  Entries<T> x;
  const T *w;    // panels of w: each (inputs, P), one after the other
  const T *bias; // padded to whole panels
  T *y;          // panels
  std::size_t y_stride;
  std::size_t inputs, outputs;
  End end; // plain or relu
};

// g (inputs, outputs) = x^T (inputs, rows) . d (rows, outputs), for a sparse x: some rows of g, of
// which the i-th has the entries [begins[i], begins[i + 1]), by rising row of x.
template <class T> struct SparseOuter {
  const std::size_t *begins;
  const std::uint32_t *rows;
  const T *values;
  const T *d; // panels
  std::size_t d_stride;
  T *g; // where its first element to fill lies; rows g_width apart
  std::size_t g_width;
  std::size_t inputs; // rows of g to fill
  Range outputs;      // begins at a whole panel
  bool accumulate;    // add to g: the batch has several blocks
};

// Dropout of the entries of one row, n values in these columns: as DropoutPanel has it.
template <class T> struct SparseDropout {
  T *values;
  const std::uint32_t *columns;
  std::size_t n;
  std::uint64_t row; // of the global batch
  std::uint32_t threshold;
  T scale;
  std::uint32_t key[2];
  std::uint32_t stream[2];
};

template <class T> struct LossRows {
  LossFunction loss;
  const T *y; // panels: the outputs of the last layer
  std::size_t stride;
  Range rows;
  std::size_t outputs;
  const std::int32_t *labels; // one per row, or
  const T *targets;           // (rows, outputs), row-major
  T *delta;                   // panels: dL_i/dy; nullptr: not wanted
  double *losses;             // one per row
  double *scores;             // one per row: see loss.inc
  const double *score_scale;  // per output, for regression; nullptr: no score
  T *scratch;                 // P values for each output, in whole panels
};

// Dropout of one panel: rows [rows.begin, rows.end) of `values`, and the same factor on `slopes`.
template <class T> struct DropoutPanel {
  T *values; // one panel
  T *slopes; // one panel, or nullptr
  Range rows;
  std::uint64_t first_row; // of the global batch, for row 0 of the panel
  std::uint32_t first_unit;
  std::uint32_t threshold; // keep where the random 32 bits are at or above it
  T scale;                 // 1 / (1 - rate)
  std::uint32_t key[2];
  std::uint32_t stream[2]; // counter words 2 and 3
};

// sums[r] += the squares of row r, for some rows of panels.
template <class T> struct RowSquares {
  const T *values; // panels
  std::size_t stride, columns;
  Range rows;
  double *sums;
};

// The same for a sparse matrix, with the same bits.
template <class T> struct SparseRowSquares {
  Entries<T> x;
  std::size_t columns;
  Range rows;
  double *sums;
};

// y = x * factor + shift, for panels; factor and shift are of a row, padded to whole panels.
template <class T> struct Affine {
  const T *x; // panels
  std::size_t x_stride;
  const T *factor;
  const T *shift; // nullptr: none
  T *y;           // panels
  std::size_t y_stride;
};

// y = (x - mean) inverse with inverse = 1 / sqrt(variance + epsilon), each row by its own mean and
// (biased) variance (Ba, Kiros & Hinton 2016, "Layer normalization", equation 4).
template <class T> struct Normalize {
  const T *x; // panels
  std::size_t x_stride, columns;
  Range rows;
  T epsilon;
  T *y; // panels; x itself is possible
  std::size_t y_stride;
  T *inverses; // per row
};

// In place, dL/dy becomes dL/dx = inverse (g - mean(g) - y mean(g y)).
template <class T> struct NormalizeBack {
  const T *y; // panels
  std::size_t y_stride, columns;
  Range rows;
  const T *inverses;
  T *delta; // panels
  std::size_t delta_stride;
};

// dL/dx of entries alone: to[e] = delta (rows, outputs) . weight^T at entry e of some rows.
template <class T> struct SparseBack {
  Entries<T> x; // where they lie; the values do not count
  const T *d;   // panels
  std::size_t d_stride;
  const T *w; // (inputs, outputs), row-major
  std::size_t outputs;
  Range rows;
  T *to;
};

// values[i] += scale * standard normal number first + i of a stream.
template <class T> struct Noise {
  T *values;
  std::uint64_t first;
  std::size_t n;
  T scale;
  std::uint32_t key[2];
  std::uint32_t stream[2]; // counter words 2 and 3
};

template <class T> struct UpdateRule {
  Rule rule;
  T gradient_scale; // the gradient counts times this: 1 / sum of weights, clipping
  T l2;             // added to the gradient: l2 * parameter
  T shrink;         // the parameter counts times this first: decoupled decay
  T rate;           // learning rate, with Adam's first bias correction
  T beta_1, beta_2; // Adam; beta_2 also RMSprop's rho
  T rest_1, rest_2; // 1 - beta, rounded once: in float 1 - 0.999 is 5e-5 too great
  T variance_scale; // Adam: what sqrt(v) counts times before epsilon is added
  T epsilon;        // a normal number: 0 / 0 is no step
  T momentum;
  bool nesterov;
  bool velocity; // scikit-learn's momentum: the buffer holds the step, learning rate included
};

template <class T> struct Kernels {
  std::size_t panel; // P
  void (*product)(const Product<T> &, Range rows, Range panels);
  void (*outer)(const Outer<T> &);
  // sums (outputs) = sum over rows of d, or added to it
  void (*column_sums)(const T *d, std::size_t stride, std::size_t rows, std::size_t outputs,
                      T *sums, bool accumulate);
  void (*pack)(const Pack<T> &);
  // In place over n values (a multiple of a register); slopes: the derivatives, or nullptr.
  void (*activate)(Activation, T alpha, T *values, T *slopes, std::size_t n);
  void (*multiply)(T *delta, const T *slopes, std::size_t n); // n as activate's
  void (*add)(T *sums, const T *values, std::size_t n);       // the same
  void (*affine)(const Affine<T> &, Range rows, Range panels);
  void (*normalize)(const Normalize<T> &);
  void (*normalize_back)(const NormalizeBack<T> &);
  void (*mask_positive)(T *delta, const T *hidden, std::size_t n);
  void (*dropout)(const DropoutPanel<T> &);
  void (*loss)(const LossRows<T> &);
  // Gives the first row found that holds a value that is not finite, or no_row.
  std::size_t (*gather)(const Gather<T> &);
  std::size_t (*rows)(const Rows<T> &); // the same
  void (*sparse_product)(const SparseProduct<T> &, Range rows, Range panels);
  void (*sparse_outer)(const SparseOuter<T> &);
  void (*sparse_back)(const SparseBack<T> &);
  void (*sparse_dropout)(const SparseDropout<T> &);
  void (*update)(const UpdateRule<T> &, T *parameters, const T *gradient, T *first, T *second,
                 std::size_t n);
  double (*sum_of_squares)(const T *values, std::size_t n);
  void (*row_squares)(const RowSquares<T> &);
  void (*sparse_row_squares)(const SparseRowSquares<T> &);
  void (*noise)(const Noise<T> &);
  // n rounds of as many operations as peak_flop says: the most that a core can do (peak.inc).
  T (*peak)(std::size_t n);
  double peak_flop;
};

struct Table {
  const char *name;
  Kernels<float> f32;
  Kernels<double> f64;
};

extern const Table baseline_table, avx2_table, avx512_table, neon_table;

// The table in use: the widest that this CPU can run, or the one that CULPA_FORCE_ISA names.
// Throws std::runtime_error where that cannot run here.
const Table &table();
// Those that this CPU can run, best first; nullptr ends the list.
const Table *const *available();

template <class T> const Kernels<T> &active();
template <> const Kernels<float> &active<float>();
template <> const Kernels<double> &active<double>();

} // namespace culpa::kernels
