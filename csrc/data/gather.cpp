#include "data/gather.h"

#include <cstring>

namespace culpa {

using kernels::active;

namespace {

// Whether the columns of every row lie side by side and aligned.
bool plain(const Source &source) {
  const auto size = static_cast<std::ptrdiff_t>(item_size(source.dtype));
  return reinterpret_cast<std::uintptr_t>(source.data) % item_size(source.dtype) == 0 &&
         source.row_stride % size == 0 && (source.columns <= 1 || source.column_stride == size);
}

void copy_row(const Source &source, std::size_t row, std::byte *to) {
  const std::size_t size = item_size(source.dtype);
  const auto *first = static_cast<const std::byte *>(source.data) +
                      static_cast<std::ptrdiff_t>(row) * source.row_stride;
  for (std::size_t j = 0; j < source.columns; ++j)
    std::memcpy(to + j * size, first + static_cast<std::ptrdiff_t>(j) * source.column_stride, size);
}

} // namespace

template <class T>
std::size_t gather(const Source &source, const ExamplesView &examples, Range positions,
                   std::size_t first, T scale, Matrix<T> to, RowBuffer &buffer) {
  const auto &k = active<T>();
  T *row = to.data + (positions.begin - first) * k.panel;
  if (plain(source))
    return k.gather({.type = source.dtype,
                     .source = source.data,
                     .row_stride = source.row_stride,
                     .columns = source.columns,
                     .order = examples.order,
                     .positions = positions,
                     .scale = scale,
                     .to = row,
                     .stride = to.stride});
  std::size_t bad = no_row;
  for (std::size_t i = positions.begin; i < positions.end; ++i, row += k.panel) {
    copy_row(source, examples.row(i), buffer.raw.data());
    if (k.gather({.type = source.dtype,
                  .source = buffer.raw.data(),
                  .row_stride = 0,
                  .columns = source.columns,
                  .order = nullptr,
                  .positions = {0, 1},
                  .scale = scale,
                  .to = row,
                  .stride = to.stride}) != no_row &&
        bad == no_row)
      bad = examples.row(i);
  }
  return bad;
}

template <class T>
std::size_t gather_targets(const ExamplesView &examples, Range positions, std::size_t outputs,
                           std::int32_t *labels, T *targets) {
  if (!examples.y.labels)
    return active<T>().rows({.type = examples.y.values.dtype,
                             .source = examples.y.values.data,
                             .row_stride = examples.y.values.row_stride,
                             .column_stride = examples.y.values.column_stride,
                             .columns = examples.y.values.columns,
                             .order = examples.order,
                             .positions = positions,
                             .to = targets});
  std::size_t bad = no_row;
  for (std::size_t i = positions.begin; i < positions.end; ++i) {
    const std::size_t row = examples.row(i);
    const std::int32_t label = examples.y.labels[row];
    const bool fits = label >= 0 && static_cast<std::size_t>(label) < outputs;
    *labels++ = fits ? label : 0;
    bad = fits ? bad : row;
  }
  return bad;
}

#define CULPA_INSTANTIATE(T)                                                                       \
  template std::size_t gather(const Source &, const ExamplesView &, Range, std::size_t, T,         \
                              Matrix<T>, RowBuffer &);                                             \
  template std::size_t gather_targets(const ExamplesView &, Range, std::size_t, std::int32_t *,    \
                                      T *);
CULPA_INSTANTIATE(float)
CULPA_INSTANTIATE(double)

} // namespace culpa
