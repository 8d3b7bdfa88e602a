// Sparse inputs: the entries of a block of examples, converted to the model's type, by row for the
// guess and by column for the weights. Nothing is made dense.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "buffer.h"
#include "threads/team.h"
#include "view.h"

namespace culpa {

// Entries that a row has on average: what the first layer's work depends on.
double mean_entries(const Source &source);

// The most entries of any block of that many rows of positions [begin, end).
std::size_t most_entries(const ExamplesView &examples, Range positions, std::size_t rows);

template <class T> struct SparseBlock {
  SparseBlock() = default;
  // by_column: 0, or the number of inputs where the weights' gradient is wanted. scales: so many
  // stages give the entries other values.
  SparseBlock(std::size_t rows, std::size_t by_column, std::size_t scales);

  // Room for so many entries, gathered by so many threads. What was there is lost.
  void reserve(std::size_t entries, std::size_t threads);

  // The entries with the values that `scales` stages have given them.
  kernels::Entries<T> view(std::size_t scales = 0) const {
    return {begins.data(), ends.data(), columns.data(), values_after(scales)};
  }
  const T *values_after(std::size_t scales) const {
    return scales ? scaled[scales - 1].values.data() : values.data();
  }

  // By row
  Buffer<std::size_t> begins, ends;
  Buffer<std::uint32_t> columns;
  Buffer<T> values;
  // The same entries, of each stage that scales them: what it gives, and in training its error
  // signals and these times the values that it read.
  struct Scaled {
    Buffer<T> values, delta, products;
  };
  std::vector<Scaled> scaled;
  // By column, after all scales: the entries of column c lie at [column_begins[c],
  // column_begins[c + 1]).
  Buffer<std::size_t> column_begins;
  Buffer<std::uint32_t> rows;
  Buffer<T> column_values;
  Buffer<std::size_t> places; // where they lie by row; empty without scales

private:
  std::size_t capacity_ = 0, threads_ = 0;
};

// This thread's rows of a block, by row: converted and scaled. Gives the first row of the source
// that holds a value which is not finite, or columns that are not the checked ones, or no_row.
template <class T>
std::size_t gather_entries(const ExamplesView &examples, Range block, T scale, SparseBlock<T> &to,
                           const Crew &crew);

// This thread's columns of a block of so many rows, by column. Between barriers.
template <class T> void transpose(SparseBlock<T> &block, std::size_t rows, const Crew &crew);

} // namespace culpa
