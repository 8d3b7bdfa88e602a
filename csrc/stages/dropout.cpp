#include "stages/dropout.h"

#include <algorithm>

#include "random.h"

namespace culpa {

using kernels::active;

namespace {

// How 32 random bits decide: what is below is dropped.
std::uint32_t dropout_threshold(double rate) {
  return static_cast<std::uint32_t>(std::min(rate * 0x1p32, 0x1.fffffffep31));
}

} // namespace

template <class T>
void drop_values(Matrix<T> values, T *slopes, Range rows, Range some_panels, double rate,
                 const Draw &draw, std::size_t value) {
  const auto panel = active<T>().panel;
  const std::uint32_t threshold = dropout_threshold(rate);
  for (std::size_t p = some_panels.begin; p < some_panels.end; ++p)
    active<T>().dropout({.values = values.data + p * values.stride,
                         .slopes = slopes ? slopes + p * values.stride : nullptr,
                         .rows = rows,
                         .first_row = draw.first_row,
                         .first_unit = static_cast<std::uint32_t>(p * panel),
                         .threshold = threshold,
                         .scale = static_cast<T>(1 / (1 - rate)),
                         .key = {static_cast<std::uint32_t>(draw.seed),
                                 static_cast<std::uint32_t>(draw.seed >> 32U)},
                         .stream = {static_cast<std::uint32_t>(draw.step),
                                    stream(Purpose::dropout, value, draw.member)}});
}

template <class T>
void drop_entries(SparseBlock<T> &block, Range rows, double rate, const Draw &draw) {
  for (std::size_t r = rows.begin; r < rows.end; ++r)
    active<T>().sparse_dropout({.values = block.values.data() + block.begins[r],
                                .columns = block.columns.data() + block.begins[r],
                                .n = block.ends[r] - block.begins[r],
                                .row = draw.first_row + r,
                                .threshold = dropout_threshold(rate),
                                .scale = static_cast<T>(1 / (1 - rate)),
                                .key = {static_cast<std::uint32_t>(draw.seed),
                                        static_cast<std::uint32_t>(draw.seed >> 32U)},
                                .stream = {static_cast<std::uint32_t>(draw.step),
                                           stream(Purpose::dropout, 0, draw.member)}});
}

#define CULPA_INSTANTIATE(T)                                                                       \
  template void drop_values(Matrix<T>, T *, Range, Range, double, const Draw &, std::size_t);      \
  template void drop_entries(SparseBlock<T> &, Range, double, const Draw &);
CULPA_INSTANTIATE(float)
CULPA_INSTANTIATE(double)

} // namespace culpa
