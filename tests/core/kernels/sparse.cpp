// sparse_product, sparse_outer, sparse_back and sparse_dropout.
#include <algorithm>

#include "check.h"
#include "random.h"

namespace culpa::tests {
namespace {

using kernels::End;

// A sparse matrix by its major index: rows with entries by column, or columns with entries by row.
// Entries that belong to nobody lie before, between and after them.
template <class T> struct Lists {
  Lists(std::size_t count, std::size_t length, double density, Numbers &numbers) {
    for (std::size_t i = 0; i < count; ++i) {
      put_stray(length, numbers);
      begins.push_back(index.size());
      const bool empty = i % 5 == 3 || density < 0, full = i % 7 == 2;
      for (std::size_t j = 0; j < length; ++j)
        if (!empty && (full || numbers.uniform(0, 1) < density)) {
          index.push_back(static_cast<std::uint32_t>(j));
          values.push_back(static_cast<T>(numbers.exact()));
        }
      ends.push_back(index.size());
    }
    put_stray(length, numbers);
  }
  void put_stray(std::size_t length, Numbers &numbers) {
    if (length)
      index.push_back(static_cast<std::uint32_t>(numbers.bits() % length));
    else
      index.push_back(0);
    values.push_back(std::numeric_limits<T>::quiet_NaN());
  }
  std::vector<std::size_t> begins, ends;
  std::vector<std::uint32_t> index;
  std::vector<T> values;
};

template <class T>
void check_product_of(const Kernels<T> &k, std::size_t rows, std::size_t inputs,
                      std::size_t outputs, double density, Numbers &numbers, Log &log) {
  const Lists<T> x(rows, inputs, density, numbers);
  const Panels w_at{k.panel, inputs, outputs, inputs * k.panel};
  const Panels bias_at{k.panel, 1, outputs, k.panel}, y_at{k.panel, rows, outputs};
  const auto number = [&](std::size_t, std::size_t) { return numbers.exact(); };
  const std::vector<T> w = w_at.template fill<T>(number), bias = bias_at.template fill<T>(number);
  std::vector<double> sums(rows * outputs);
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t c = 0; c < outputs; ++c) {
      double z = static_cast<double>(bias[c]);
      for (std::size_t e = x.begins[r]; e < x.ends[r]; ++e)
        z += static_cast<double>(x.values[e]) * static_cast<double>(w[w_at.at(x.index[e], c)]);
      sums[r * outputs + c] = z;
    }
  const std::size_t all = y_at.count();
  const std::vector<Range> row_parts =
      rows >= 3 ? std::vector<Range>{{0, rows}, {1, rows - 1}} : std::vector<Range>{{0, rows}};
  for (const End end : {End::plain, End::relu})
    for (const Range some : row_parts)
      for (const Range panels : {Range{0, all}, Range{all / 2, all}, Range{0, all / 2}}) {
        Output<T> y(y_at.size());
        for (std::size_t r = some.begin; r < some.end; ++r)
          for (std::size_t c = panels.begin * k.panel; c < panels.end * k.panel; ++c)
            if (c < outputs) {
              const double z = sums[r * outputs + c];
              y.want(y_at.at(r, c), end == End::relu ? std::max(z, 0.0) : z);
            } else
              y.ignore(y_at.at(r, c)); // the rest of the last panel
        k.sparse_product({.x = {x.begins.data(), x.ends.data(), x.index.data(), x.values.data()},
                          .w = w.data(),
                          .bias = bias.data(),
                          .y = y.data(),
                          .y_stride = y_at.stride,
                          .inputs = inputs,
                          .outputs = outputs,
                          .end = end},
                         some, panels);
        y.check(log, say("sparse product of rows", some.begin, "to", some.end, "panels",
                         panels.begin, "to", panels.end, "of", inputs, "inputs,", outputs,
                         "outputs, density", density, "relu", end == End::relu));
      }
}

template <class T>
void check_outer_of(const Kernels<T> &k, std::size_t rows, std::size_t inputs, Range outputs,
                    double density, Numbers &numbers, Log &log) {
  const Lists<T> lists(inputs, rows, density, numbers);
  // Here the entries of one input end where those of the next begin.
  std::vector<std::size_t> begins{0};
  std::vector<std::uint32_t> of_rows;
  std::vector<T> values;
  for (std::size_t i = 0; i < inputs; ++i) {
    for (std::size_t e = lists.begins[i]; e < lists.ends[i]; ++e) {
      of_rows.push_back(lists.index[e]);
      values.push_back(lists.values[e]);
    }
    begins.push_back(values.size());
  }
  const std::size_t width = outputs.end - outputs.begin, g_width = width + rows % 2 * 3;
  const Panels d_at{k.panel, rows, outputs.end};
  const std::vector<T> d =
      d_at.template fill<T>([&](std::size_t, std::size_t) { return numbers.exact(); });
  for (const bool accumulate : {false, true}) {
    Output<T> g(inputs * g_width);
    for (std::size_t i = 0; i < inputs; ++i)
      for (std::size_t c = 0; c < width; ++c) {
        double sum = 0;
        if (accumulate) {
          sum = numbers.exact();
          g.put(i * g_width + c, static_cast<T>(sum));
        }
        for (std::size_t e = begins[i]; e < begins[i + 1]; ++e)
          sum += static_cast<double>(values[e]) *
                 static_cast<double>(d[d_at.at(of_rows[e], outputs.begin + c)]);
        g.want(i * g_width + c, sum);
      }
    k.sparse_outer({.begins = begins.data(),
                    .rows = of_rows.data(),
                    .values = values.data(),
                    .d = d.data(),
                    .d_stride = d_at.stride,
                    .g = g.data(),
                    .g_width = g_width,
                    .inputs = inputs,
                    .outputs = outputs,
                    .accumulate = accumulate});
    g.check(log, say("sparse outer of", inputs, "inputs,", rows, "rows, outputs", outputs.begin,
                     "to", outputs.end, "density", density, "accumulate", accumulate));
  }
}

template <class T>
void check_back_of(const Kernels<T> &k, std::size_t rows, std::size_t inputs, std::size_t outputs,
                   double density, Numbers &numbers, Log &log) {
  const Lists<T> x(rows, inputs, density, numbers);
  const Panels d_at{k.panel, rows, outputs};
  const std::vector<T> d =
      d_at.template fill<T>([&](std::size_t, std::size_t) { return numbers.exact(); });
  const std::vector<T> w = numbers.exact<T>(inputs * outputs);
  Output<T> back(x.index.size());
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t e = x.begins[r]; e < x.ends[r]; ++e) {
      double sum = 0;
      for (std::size_t c = 0; c < outputs; ++c)
        sum += static_cast<double>(d[d_at.at(r, c)]) *
               static_cast<double>(w[x.index[e] * outputs + c]);
      back.want(e, sum);
    }
  k.sparse_back({.x = {x.begins.data(), x.ends.data(), x.index.data(), nullptr},
                 .d = d.data(),
                 .d_stride = d_at.stride,
                 .w = w.data(),
                 .outputs = outputs,
                 .rows = {0, rows},
                 .to = back.data()});
  back.check(log, say("sparse back of", rows, "rows,", inputs, "inputs,", outputs, "outputs"));
}

template <class T> void check_dropout_of(const Kernels<T> &k, std::size_t n, Log &log) {
  constexpr std::uint64_t key = 0x0123456789abcdefU;
  const std::uint32_t stream_words[2] = {77, stream(Purpose::dropout, 0, 5)};
  const T scale = static_cast<T>(1 / 0.7);
  Numbers numbers;
  for (const std::uint64_t row : {std::uint64_t{0}, std::uint64_t{1000}, std::uint64_t{1} << 32U})
    for (const std::uint32_t threshold : {0U, 1288490188U, 0xffffffffU}) {
      std::vector<std::uint32_t> columns(n);
      for (std::size_t i = 0; i < n; ++i) // rising, some side by side, at last a large one
        columns[i] = static_cast<std::uint32_t>(i + i / 3 * (numbers.bits() % 2) + i / 3 * 5);
      std::sort(columns.begin(), columns.end());
      if (n)
        columns.back() = 0xfffffffeU;
      Output<T> values(n);
      for (std::size_t i = 0; i < n; ++i) {
        const T before = static_cast<T>(numbers.exact());
        const std::uint32_t word = philox(
            {columns[i] / 4, static_cast<std::uint32_t>(row), stream_words[0], stream_words[1]},
            key)[columns[i] % 4];
        values.put(i, before);
        values.want(i, static_cast<double>(before * (word >= threshold ? scale : T(0))));
      }
      k.sparse_dropout(
          {.values = values.data(),
           .columns = columns.data(),
           .n = n,
           .row = row,
           .threshold = threshold,
           .scale = scale,
           .key = {static_cast<std::uint32_t>(key), static_cast<std::uint32_t>(key >> 32U)},
           .stream = {stream_words[0], stream_words[1]}});
      values.check(log, say("sparse dropout of", n, "entries, row", row, "threshold", threshold));
    }
}

} // namespace

template <class T> void check_sparse(const Kernels<T> &k, Log &log) {
  const std::size_t P = k.panel;
  Numbers numbers;
  // Around a register, a panel, and the eight registers that a row takes at a time.
  for (const std::size_t outputs :
       {std::size_t{1}, P / 2, P / 2 + 1, P, P + 1, 4 * P - P / 2 + 1, 4 * P, 4 * P + 3, 9 * P - 1})
    for (const double density : {-1.0, 0.0, 0.1, 0.5}) { // below 0: no entry at all
      for (const std::size_t rows : {0, 1, 2, 9, 20})
        for (const std::size_t inputs : {std::size_t{0}, std::size_t{1}, P - 1, std::size_t{70}})
          check_product_of(k, rows, inputs, outputs, density, numbers, log);
      for (const std::size_t rows : {1, 9})
        check_back_of(k, rows, 70, outputs, density, numbers, log);
      for (const std::size_t rows : {1, 2, 9, 70})
        for (const std::size_t inputs : {std::size_t{0}, std::size_t{1}, P - 1, P})
          for (const std::size_t first : {std::size_t{0}, 2 * P})
            check_outer_of(k, rows, inputs, {first, first + outputs}, density, numbers, log);
    }
  for (const std::size_t n : {0, 1, 2, 15, 16, 17, 40})
    check_dropout_of(k, n, log);
}

template void check_sparse(const Kernels<float> &, Log &);
template void check_sparse(const Kernels<double> &, Log &);

} // namespace culpa::tests
