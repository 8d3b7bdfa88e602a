#include "data/sparse.h"

#include <algorithm>

#include "data/gather.h"

namespace culpa {

using kernels::active;

double mean_entries(const Source &source) {
  const auto entries = static_cast<double>(source.begins[source.rows] - source.begins[0]);
  return entries / static_cast<double>(std::max<std::size_t>(source.rows, 1));
}

std::size_t most_entries(const ExamplesView &examples, Range positions, std::size_t rows) {
  std::size_t most = 0;
  for (std::size_t begin = positions.begin; begin < positions.end; begin += rows) {
    std::size_t entries = 0;
    for (std::size_t i = begin; i < std::min(begin + rows, positions.end); ++i)
      entries += examples.x.entries(examples.row(i));
    most = std::max(most, entries);
  }
  return most;
}

template <class T>
SparseBlock<T>::SparseBlock(std::size_t capacity, std::size_t by_column, std::size_t scales)
    : begins(capacity), ends(capacity), scaled(scales),
      column_begins(by_column ? by_column + 1 : 0) {}

template <class T> void SparseBlock<T>::reserve(std::size_t entries, std::size_t threads) {
  if (values.size() && entries <= capacity_ && threads <= threads_)
    return;
  if (capacity_) // batches differ: not again and again
    entries = std::max(entries + entries / 8, capacity_);
  threads = std::max(threads, threads_);
  // The conversion of a row fills its last register up: each thread has room for that at its end.
  const std::size_t size = entries + threads * active<T>().panel;
  capacity_ = 0; // until all of it is there: memory may run out
  columns = Buffer<std::uint32_t>(size);
  const bool trains = column_begins.size() > 0;
  if (trains) {
    rows = Buffer<std::uint32_t>(entries);
    column_values = Buffer<T>(entries);
    places = Buffer<std::size_t>(scaled.empty() ? 0 : entries);
  }
  for (Scaled &one : scaled) {
    one.values = Buffer<T>(size);
    one.delta = Buffer<T>(trains ? size : 0);
    one.products = Buffer<T>(trains ? size : 0);
  }
  values = Buffer<T>(size);
  capacity_ = entries;
  threads_ = threads;
}

namespace {

// Columns of one row. False where they are not rising or out of range: the user's array may have
// changed since it was checked.
template <class Index>
bool copy_columns(const void *indices, std::size_t first, std::size_t count, std::size_t columns,
                  std::uint32_t *to) {
  const Index *from = static_cast<const Index *>(indices) + first;
  std::int64_t previous = -1;
  bool good = true;
  for (std::size_t i = 0; i < count; ++i) {
    const std::int64_t column = from[i];
    good &= column > previous;
    previous = column;
    to[i] = static_cast<std::uint32_t>(column);
  }
  return good && previous < static_cast<std::int64_t>(columns);
}

void prefetch(const void *array, std::size_t first, std::size_t count, std::size_t item) {
  const char *from = static_cast<const char *>(array) + first * item;
  for (std::size_t line = 0; line < count * item; line += 64)
    __builtin_prefetch(from + line);
}

} // namespace

template <class T>
std::size_t gather_entries(const ExamplesView &examples, Range block, T scale, SparseBlock<T> &to,
                           const Crew &crew) {
  const auto &k = active<T>();
  const Source &x = examples.x;
  const std::size_t item = item_size(x.dtype), index_item = x.wide_indices ? 8 : 4;
  const Range mine = crew.share(block);
  std::size_t at = crew.index * k.panel;
  for (std::size_t i = block.begin; i < mine.begin; ++i)
    at += x.entries(examples.row(i));
  std::size_t bad = no_row;
  for (std::size_t i = mine.begin; i < mine.end; ++i) {
    if (i + 1 < mine.end) { // shuffled rows come from anywhere in memory
      const std::size_t next = examples.row(i + 1);
      const auto first = static_cast<std::size_t>(x.begins[next]);
      prefetch(x.data, first, x.entries(next), item);
      prefetch(x.indices, first, x.entries(next), index_item);
    }
    const std::size_t row = examples.row(i), r = i - block.begin;
    const auto first = static_cast<std::size_t>(x.begins[row]);
    std::size_t count = x.entries(row);
    std::uint32_t *columns = to.columns.data() + at;
    const bool good = x.wide_indices
                          ? copy_columns<std::int64_t>(x.indices, first, count, x.columns, columns)
                          : copy_columns<std::int32_t>(x.indices, first, count, x.columns, columns);
    if (!good)
      count = 0;
    const bool finite = k.gather({.type = x.dtype,
                                  .source = static_cast<const std::byte *>(x.data) + first * item,
                                  .row_stride = 0,
                                  .columns = count,
                                  .order = nullptr,
                                  .positions = {0, 1},
                                  .scale = scale,
                                  .to = to.values.data() + at,
                                  .stride = k.panel}) == no_row;
    if ((!good || !finite) && bad == no_row)
      bad = row;
    to.begins[r] = at;
    to.ends[r] = at + count;
    at += count;
  }
  return bad;
}

// A counting sort. Each row's columns rise, so a thread finds its own by bisection and looks at no
// others: no thread waits for another's counts. While it runs, column_begins[c + 1] counts and then
// points to where the next entry of column c goes; in the end that is where column c + 1 begins.
template <class T> void transpose(SparseBlock<T> &block, std::size_t rows, const Crew &crew) {
  const Range mine = crew.share({0, block.column_begins.size() - 1});
  std::size_t *place = block.column_begins.data() + 1;
  const std::uint32_t *columns = block.columns.data();
  const T *values = block.values_after(block.scaled.size());
  const auto first_of = [&](std::size_t r) {
    const std::uint32_t *begin = columns + block.begins[r], *end = columns + block.ends[r];
    const auto *first = mine.begin ? std::lower_bound(begin, end, mine.begin) : begin;
    return static_cast<std::size_t>(first - columns);
  };
  std::fill(place + mine.begin, place + mine.end, std::size_t{0});
  std::size_t before = 0; // entries of the columns of threads before
  for (std::size_t r = 0; r < rows; ++r) {
    const std::size_t first = first_of(r);
    before += first - block.begins[r];
    for (std::size_t e = first; e < block.ends[r] && columns[e] < mine.end; ++e)
      ++place[columns[e]];
  }
  for (std::size_t c = mine.begin; c < mine.end; ++c) {
    const std::size_t count = place[c];
    place[c] = before;
    before += count;
  }
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t e = first_of(r); e < block.ends[r] && columns[e] < mine.end; ++e) {
      const std::size_t to = place[columns[e]]++;
      block.rows[to] = static_cast<std::uint32_t>(r);
      block.column_values[to] = values[e];
      if (block.places.size())
        block.places[to] = e;
    }
}

#define CULPA_INSTANTIATE(T)                                                                       \
  template struct SparseBlock<T>;                                                                  \
  template std::size_t gather_entries(const ExamplesView &, Range, T, SparseBlock<T> &,            \
                                      const Crew &);                                               \
  template void transpose(SparseBlock<T> &, std::size_t, const Crew &);
CULPA_INSTANTIATE(float)
CULPA_INSTANTIATE(double)

} // namespace culpa
