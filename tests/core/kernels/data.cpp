// gather, rows and dropout.
#include <cstring>

#include "check.h"
#include "random.h"

namespace culpa::tests {
namespace {

struct Half {
  std::uint16_t bits;
};

double to_number(Half h) {
  const int exponent = h.bits >> 10U & 31, mantissa = h.bits & 1023;
  const double sign = h.bits >> 15U ? -1 : 1;
  if (exponent == 31)
    return mantissa ? std::numeric_limits<double>::quiet_NaN()
                    : sign * std::numeric_limits<double>::infinity();
  return sign * (exponent ? std::ldexp(1024 + mantissa, exponent - 25) : std::ldexp(mantissa, -24));
}
template <class S> S to_number(S x) { return x; }

// One row: true where all is finite.
template <class T, class S>
bool gather(const Kernels<T> &k, DType type, const std::vector<S> &source, T scale, T *row,
            std::size_t stride) {
  return k.gather({.type = type,
                   .source = source.data(),
                   .row_stride = 0,
                   .columns = source.size(),
                   .order = nullptr,
                   .positions = {0, 1},
                   .scale = scale,
                   .to = row,
                   .stride = stride}) == kernels::no_row;
}

// A row of a source in the panels of row 1 of 3, and whether the verdict on it is right.
template <class T, class S>
void check_row(const Kernels<T> &k, DType type, const std::vector<S> &source, double scale,
               const std::string &what, Log &log) {
  const Panels at{k.panel, 3, source.size()};
  Output<T> rows(at.size());
  bool finite = true;
  for (std::size_t j = 0; j < at.count() * k.panel; ++j)
    if (j < source.size()) {
      const T value = static_cast<T>(to_number(source[j])) * static_cast<T>(scale);
      finite = finite && std::isfinite(value);
      rows.want(at.at(1, j), static_cast<double>(value));
    } else
      rows.ignore(at.at(1, j));
  const bool verdict =
      gather(k, type, source, static_cast<T>(scale), rows.data() + k.panel, at.stride);
  const std::string where = say("gather", what, "of", source.size(), "columns, scale", scale);
  rows.check(log, where);
  log.expect(verdict == finite,
             where + (finite ? ": finite, but" : ": not finite, but not") + " reported as bad");
}

template <class S> S random_value(Numbers &numbers) {
  const std::uint64_t bits = numbers.bits();
  if constexpr (std::is_floating_point_v<S>)
    return static_cast<S>(numbers.uniform(-1000, 1000));
  else if constexpr (std::is_same_v<S, Half>)
    return {static_cast<std::uint16_t>(bits & 0xbbffU)}; // finite
  else
    return static_cast<S>(bits >> (bits & 31U)); // of every size
}

template <class T, class S>
void check_gather_of(const Kernels<T> &k, DType type, const char *name, Log &log) {
  const std::size_t P = k.panel;
  Numbers numbers;
  for (const std::size_t columns : {std::size_t{0}, std::size_t{1}, P - 1, P, P + 1, 5 * P + 3})
    for (const double scale : {1.0, 1.0 / 255}) {
      std::vector<S> source(columns);
      for (S &value : source)
        value = random_value<S>(numbers);
      check_row(k, type, source, scale, name, log);
    }
  if constexpr (std::is_integral_v<S>) {
    using Limits = std::numeric_limits<S>;
    check_row<T, S>(k, type, {0, 1, Limits::min(), Limits::max(), Limits::max() / 2 + 1}, 1, name,
                    log);
  }
}

template <class T, class S>
void check_not_finite(const Kernels<T> &k, DType type, const char *name, Log &log) {
  const auto infinity = std::numeric_limits<S>::infinity();
  const S bad[] = {infinity, -infinity, std::numeric_limits<S>::quiet_NaN(),
                   std::numeric_limits<S>::max()}; // the last overflows a float, or when scaled
  for (const std::size_t columns : {std::size_t{1}, k.panel, 2 * k.panel + 1})
    for (std::size_t j = 0; j < columns; ++j)
      for (const S value : bad) {
        std::vector<S> source(columns, S(1));
        source[j] = value;
        check_row(k, type, source, 2, say(name, "with", value, "at", j), log);
      }
}

// All there are: the finite ones in a row, the others each in one of their own.
template <class T> void check_halves(const Kernels<T> &k, Log &log) {
  std::vector<Half> finite;
  for (std::uint32_t bits = 0; bits < 0x10000U; ++bits) {
    const Half h{static_cast<std::uint16_t>(bits)};
    if (std::isfinite(to_number(h)))
      finite.push_back(h);
    else
      check_row<T, Half>(k, DType::f16, {Half{0}, h, Half{0}}, 1, "f16 that is not finite", log);
  }
  check_row(k, DType::f16, finite, 1, "all finite f16", log);
}

// Rows in the order given, and the first of them that is not finite by its number in the source.
template <class T> void check_order(const Kernels<T> &k, Log &log) {
  constexpr std::size_t columns = 5, stride = 7; // floats; two of each row are not ours
  Numbers numbers;
  std::vector<float> source(40 * stride);
  for (float &value : source)
    value = static_cast<float>(numbers.uniform(-1, 1));
  const std::int64_t order[] = {3, 39, 0, 3, 17, 8};
  for (const bool bad : {false, true})
    for (const bool ordered : {true, false}) {
      if (bad)
        source[17 * stride + columns - 1] = source[8 * stride] =
            std::numeric_limits<float>::infinity();
      const Range positions = ordered ? Range{1, 6} : Range{10, 25};
      const Panels at{k.panel, positions.end - positions.begin, columns};
      Output<T> rows(at.size());
      for (std::size_t i = positions.begin; i < positions.end; ++i)
        for (std::size_t j = 0; j < at.count() * k.panel; ++j) {
          const auto row = ordered ? static_cast<std::size_t>(order[i]) : i;
          if (j < columns)
            rows.want(at.at(i - positions.begin, j),
                      static_cast<double>(source[row * stride + j]) * 2);
          else
            rows.ignore(at.at(i - positions.begin, j));
        }
      const std::size_t found = k.gather({.type = DType::f32,
                                          .source = source.data(),
                                          .row_stride = stride * sizeof(float),
                                          .columns = columns,
                                          .order = ordered ? order : nullptr,
                                          .positions = positions,
                                          .scale = 2,
                                          .to = rows.data(),
                                          .stride = at.stride});
      const std::string where = say("gather", ordered ? "in an order" : "in place");
      if (!bad)
        rows.check(log, where);
      log.expect(found == (bad ? 17 : kernels::no_row), where + say(": found row", found));
    }
}

// Denormals of a float are ordinary doubles, and a scale brings those of either type back. (Rounded
// to a float first: what float64 rows give is what they give as float32 rows.)
template <class T, class S>
void check_denormals(const Kernels<T> &k, DType type, const char *name, Log &log) {
  using Limits = std::numeric_limits<S>;
  const double least = std::numeric_limits<float>::min();
  const bool both_double = sizeof(T) == 8 && sizeof(S) == 8;
  for (const double scale : {1.0, -1.0, 0.5, both_double ? 0x1p800 : 0x1.8p100, -0x1p50}) {
    std::vector<S> source;
    Numbers numbers;
    while (source.size() < 3 * k.panel + 5)
      source.push_back(
          static_cast<S>(numbers.uniform(-2, 2) * (both_double ? double(Limits::min()) : least)));
    source[0] = S(0);
    source[1] = both_double ? Limits::denorm_min() : S(0x1p-149);
    source[2] = -source[1];
    const Panels at{k.panel, 1, source.size()};
    Output<T> rows(at.size());
    for (std::size_t j = 0; j < at.count() * k.panel; ++j)
      if (j < source.size()) {
        // Rounded to T; in long double no product of a denormal rounds again.
        const T value = static_cast<T>(source[j]);
        const auto product = static_cast<T>(static_cast<long double>(value) *
                                            static_cast<long double>(static_cast<T>(scale)));
        const bool counts = std::abs(product) >= std::numeric_limits<T>::min();
        rows.want(at.at(0, j), counts ? static_cast<double>(product) : 0);
      } else
        rows.ignore(at.at(0, j));
    {
      const FlushDenormals flush;
      gather(k, type, source, static_cast<T>(scale), rows.data(), at.stride);
    }
    rows.check(log, say("gather of denormal", name, "times", scale));
  }
}

// Rows side by side, from a source whose rows and columns lie anyhow.
template <class T, class S>
void check_rows_of(const Kernels<T> &k, DType type, const char *name, Log &log) {
  const std::int64_t order[] = {3, 6, 0, 3, 1, 5};
  Numbers numbers;
  for (const std::size_t columns : {std::size_t{1}, std::size_t{3}, k.panel / 2, 2 * k.panel + 1})
    for (const std::ptrdiff_t step : {1, 2, -1})
      for (const std::size_t shift : {0, 1}) // bytes: not aligned
        for (const bool ordered : {true, false}) {
          constexpr std::size_t height = 7, size = sizeof(S);
          const std::size_t pitch = (2 * columns + 1) * size + shift;
          std::vector<unsigned char> memory(height * pitch + 2 * columns * size);
          const std::size_t base = step < 0 ? (columns - 1) * size : 0;
          const auto place = [&](std::size_t r, std::size_t c) {
            return memory.data() + base + r * pitch + shift +
                   static_cast<std::ptrdiff_t>(c) * step * static_cast<std::ptrdiff_t>(size);
          };
          std::vector<S> values(height * columns);
          for (std::size_t i = 0; i < values.size(); ++i) {
            values[i] = random_value<S>(numbers);
            std::memcpy(place(i / columns, i % columns), &values[i], size);
          }
          const Range positions = ordered ? Range{1, 6} : Range{2, 7};
          Output<T> rows((positions.end - positions.begin) * columns);
          for (std::size_t i = positions.begin, at = 0; i < positions.end; ++i)
            for (std::size_t c = 0; c < columns; ++c, ++at) {
              const auto row = ordered ? static_cast<std::size_t>(order[i]) : i;
              rows.want(at,
                        static_cast<double>(static_cast<T>(to_number(values[row * columns + c]))));
            }
          const kernels::Rows<T> job = {.type = type,
                                        .source = place(0, 0),
                                        .row_stride = static_cast<std::ptrdiff_t>(pitch),
                                        .column_stride = step * static_cast<std::ptrdiff_t>(size),
                                        .columns = columns,
                                        .order = ordered ? order : nullptr,
                                        .positions = positions,
                                        .to = rows.data()};
          const std::string what = say("rows of", columns, name, "step", step, "shift", shift,
                                       ordered ? "in an order" : "in place");
          log.expect(k.rows(job) == kernels::no_row, what + " found to be not finite");
          rows.check(log, what);
          if constexpr (std::is_floating_point_v<S>)
            for (const S bad :
                 {std::numeric_limits<S>::quiet_NaN(), -std::numeric_limits<S>::infinity()}) {
              std::memcpy(place(5, columns - 1), &bad, size);
              log.expect(k.rows(job) == 5, what + ": the row that is not finite is not found");
            }
        }
}

template <class T> void check_rows(const Kernels<T> &k, Log &log) {
  check_rows_of<T, std::uint8_t>(k, DType::u8, "u8", log);
  check_rows_of<T, std::int8_t>(k, DType::i8, "i8", log);
  check_rows_of<T, std::uint16_t>(k, DType::u16, "u16", log);
  check_rows_of<T, std::int16_t>(k, DType::i16, "i16", log);
  check_rows_of<T, std::uint32_t>(k, DType::u32, "u32", log);
  check_rows_of<T, std::int32_t>(k, DType::i32, "i32", log);
  check_rows_of<T, std::uint64_t>(k, DType::u64, "u64", log);
  check_rows_of<T, std::int64_t>(k, DType::i64, "i64", log);
  check_rows_of<T, Half>(k, DType::f16, "f16", log);
  check_rows_of<T, float>(k, DType::f32, "f32", log);
  check_rows_of<T, double>(k, DType::f64, "f64", log);
}

template <class T> void check_gather(const Kernels<T> &k, Log &log) {
  check_order(k, log);
  check_denormals<T, float>(k, DType::f32, "f32", log);
  check_denormals<T, double>(k, DType::f64, "f64", log);
  check_gather_of<T, std::uint8_t>(k, DType::u8, "u8", log);
  check_gather_of<T, std::int8_t>(k, DType::i8, "i8", log);
  check_gather_of<T, std::uint16_t>(k, DType::u16, "u16", log);
  check_gather_of<T, std::int16_t>(k, DType::i16, "i16", log);
  check_gather_of<T, std::uint32_t>(k, DType::u32, "u32", log);
  check_gather_of<T, std::int32_t>(k, DType::i32, "i32", log);
  check_gather_of<T, std::uint64_t>(k, DType::u64, "u64", log);
  check_gather_of<T, std::int64_t>(k, DType::i64, "i64", log);
  check_gather_of<T, Half>(k, DType::f16, "f16", log);
  check_gather_of<T, float>(k, DType::f32, "f32", log);
  check_gather_of<T, double>(k, DType::f64, "f64", log);
  check_not_finite<T, float>(k, DType::f32, "f32", log);
  check_not_finite<T, double>(k, DType::f64, "f64", log);
  check_halves(k, log);
}

constexpr std::uint64_t dropout_key = 0x0123456789abcdefU;
const std::uint32_t dropout_stream[2] = {77, stream(Purpose::dropout, 2, 5)};
constexpr std::uint32_t first_unit = 192; // some panels in, at any width

// As random.h says it, one counter at a time.
std::uint32_t draw(std::uint32_t row, std::uint32_t unit) {
  return philox({unit / 4, row, dropout_stream[0], dropout_stream[1]}, dropout_key)[unit % 4];
}

template <class T>
void check_dropout_of(const Kernels<T> &k, std::size_t rows, Range range, std::uint64_t first_row,
                      std::uint32_t threshold, bool with_slopes, Log &log) {
  const std::size_t P = k.panel;
  const T scale = static_cast<T>(1 / 0.7);
  Numbers numbers;
  Output<T> values(rows * P), slopes(rows * P);
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t i = 0; i < P; ++i) {
      const std::uint32_t word = draw(static_cast<std::uint32_t>(first_row + r),
                                      first_unit + static_cast<std::uint32_t>(i));
      const T factor = word >= threshold ? scale : T(0);
      const bool inside = range.begin <= r && r < range.end;
      for (Output<T> *each : {&values, &slopes}) {
        const T before = static_cast<T>(numbers.exact());
        each->put(r * P + i, before);
        if (inside && (each == &values || with_slopes))
          each->want(r * P + i, static_cast<double>(before * factor));
      }
    }
  k.dropout({.values = values.data(),
             .slopes = with_slopes ? slopes.data() : nullptr,
             .rows = range,
             .first_row = first_row,
             .first_unit = first_unit,
             .threshold = threshold,
             .scale = scale,
             .key = {static_cast<std::uint32_t>(dropout_key),
                     static_cast<std::uint32_t>(dropout_key >> 32U)},
             .stream = {dropout_stream[0], dropout_stream[1]}});
  const std::string what = say("dropout of rows", range.begin, "to", range.end, "from", first_row,
                               "threshold", threshold, "with slopes", with_slopes);
  values.check(log, what);
  slopes.check(log, "slopes of " + what);
}

template <class T> void check_dropout(const Kernels<T> &k, Log &log) {
  for (const Range range : {Range{0, 0}, Range{0, 1}, Range{2, 5}, Range{0, 16}, Range{1, 39}})
    for (const bool with_slopes : {false, true}) {
      // 0.3, nothing, all but one in 2^32, and a number that is drawn: it is kept. And rows that
      // pass 2^32, where the counter begins again.
      const std::uint32_t drawn = draw(1000 + static_cast<std::uint32_t>(range.begin), first_unit);
      for (const std::uint32_t threshold : {1288490188U, 0U, 0xffffffffU, drawn})
        check_dropout_of(k, 40, range, 1000, threshold, with_slopes, log);
      check_dropout_of(k, 40, range, 0xfffffff0U, 1288490188U, with_slopes, log);
    }
}

} // namespace

template <class T> void check_data(const Kernels<T> &k, Log &log) {
  check_gather(k, log);
  check_rows(k, log);
  check_dropout(k, log);
}

template void check_data(const Kernels<float> &, Log &);
template void check_data(const Kernels<double> &, Log &);

} // namespace culpa::tests
