// Looks through a source for values that are not finite: all of them at once, in the order in which
// they lie, and row by row only where there are some.
#include "data/finite.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

#include "data/gather.h"
#include "threads/team.h"

namespace culpa {

using kernels::active;

namespace {

constexpr std::size_t at_once = 2048; // values, which stay in a core's first cache

// Values that lie one after the other, `step` bytes apart, in lines `stride` apart: the rows of a
// source or its columns, whichever lie closer together, and one line where there are no gaps.
struct Lines {
  std::size_t count, length;
  std::ptrdiff_t stride, step;
};

Lines lines_of(const Source &source) {
  Lines lines{source.rows, source.columns, source.row_stride, source.column_stride};
  if (lines.length == 1 || (lines.count > 1 && std::abs(lines.stride) < std::abs(lines.step)))
    lines = {lines.length, lines.count, lines.step, lines.stride};
  const auto size = static_cast<std::ptrdiff_t>(item_size(source.dtype));
  if (lines.step == size && lines.stride == size * static_cast<std::ptrdiff_t>(lines.length))
    lines = {1, lines.count * lines.length, 0, size};
  return lines;
}

// A thread's room for a block of lines.
template <class T> struct Room {
  Room(std::size_t values, std::size_t padded)
      : raw(values * sizeof(std::uint64_t)), converted(padded) {}
  Buffer<std::byte> raw; // strided values, side by side
  Buffer<T> converted;
};

// Some values, from `first` on, of some lines.
template <class T>
bool block_is_finite(const Source &source, const Lines &lines, const std::byte *first,
                     std::size_t count, std::size_t length, T scale, Room<T> &room) {
  const std::size_t size = item_size(source.dtype);
  const auto width = static_cast<std::ptrdiff_t>(size);
  std::ptrdiff_t stride = lines.stride;
  if (lines.step != width || stride % width != 0 ||
      reinterpret_cast<std::uintptr_t>(first) % size != 0) {
    std::byte *to = room.raw.data();
    for (std::size_t i = 0; i < count; ++i)
      for (std::size_t j = 0; j < length; ++j, to += size)
        std::memcpy(to,
                    first + static_cast<std::ptrdiff_t>(i) * lines.stride +
                        static_cast<std::ptrdiff_t>(j) * lines.step,
                    size);
    first = room.raw.data();
    stride = width * static_cast<std::ptrdiff_t>(length);
  }
  return active<T>().gather({.type = source.dtype,
                             .source = first,
                             .row_stride = stride,
                             .columns = length,
                             .order = nullptr,
                             .positions = {0, count},
                             .scale = scale,
                             .to = room.converted.data(),
                             .stride = count * active<T>().panel}) == no_row;
}

template <class T> bool all_finite(const Source &source, T scale, std::size_t threads) {
  const Lines lines = lines_of(source);
  const std::size_t panel = active<T>().panel;
  const std::size_t length = std::min(lines.length, at_once);
  const std::size_t padded = panels(length, panel) * panel;
  const std::size_t height = std::clamp<std::size_t>(at_once / padded, 1, lines.count);
  const std::size_t across = (lines.length + length - 1) / length;
  const std::size_t blocks = (lines.count + height - 1) / height * across;
  std::vector<Room<T>> rooms;
  rooms.reserve(threads);
  for (std::size_t i = 0; i < threads; ++i)
    rooms.emplace_back(height * length, height * padded);
  std::atomic<bool> finite{true};
  run(threads, [&](const Crew &crew) {
    const Range mine = crew.share({0, blocks});
    for (std::size_t b = mine.begin; b < mine.end && finite.load(std::memory_order_relaxed); ++b) {
      const std::size_t line = b / across * height, value = b % across * length;
      const auto *first = static_cast<const std::byte *>(source.data) +
                          static_cast<std::ptrdiff_t>(line) * lines.stride +
                          static_cast<std::ptrdiff_t>(value) * lines.step;
      if (!block_is_finite(source, lines, first, std::min(height, lines.count - line),
                           std::min(length, lines.length - value), scale, rooms[crew.index]))
        finite.store(false, std::memory_order_relaxed);
    }
  });
  return finite.load();
}

} // namespace

template <class T>
std::size_t find_not_finite(const Source &source, double given_scale, std::size_t threads) {
  const auto scale = static_cast<T>(given_scale);
  const std::size_t useful = std::min(threads, source.rows * source.columns / 1000000 + 1);
  if (source.rows * source.columns == 0 || all_finite(source, scale, useful))
    return no_row;
  const auto panel = active<T>().panel;
  const std::size_t width = panels(source.columns, panel) * panel;
  Buffer<T> space(useful * width);
  std::vector<RowBuffer> buffers;
  buffers.reserve(useful);
  for (std::size_t i = 0; i < useful; ++i)
    buffers.emplace_back(source.columns);
  const ExamplesView examples{.x = source, .y = {}};
  std::atomic<std::size_t> bad{no_row};
  run(useful, [&](const Crew &crew) {
    const Range mine = crew.share({0, source.rows});
    const Matrix<T> row{space.data() + crew.index * width, panel, source.columns};
    for (std::size_t r = mine.begin; r < mine.end; ++r)
      if (gather(source, examples, {r, r + 1}, r, scale, row, buffers[crew.index]) != no_row) {
        report_row(bad, r);
        break;
      }
  });
  return bad.load();
}

template std::size_t find_not_finite<float>(const Source &, double, std::size_t);
template std::size_t find_not_finite<double>(const Source &, double, std::size_t);

} // namespace culpa
