// product, outer and column_sums.
#include <algorithm>

#include "check.h"

namespace culpa::tests {
namespace {

using kernels::End;

const char *name(End end) {
  return end == End::plain ? "plain" : end == End::relu ? "relu" : "masked";
}

// y (rows, outputs) = x (rows, inputs) . w (inputs, outputs) + bias
template <class T> class ProductCase {
public:
  template <class Each>
  ProductCase(const Kernels<T> &kernels, std::size_t rows, std::size_t inputs, std::size_t outputs,
              Each number)
      : k(kernels), x_at{k.panel, rows, inputs}, y_at{k.panel, rows, outputs} {
    const auto each = [&](std::size_t, std::size_t) { return number(); };
    x = x_at.template fill<T>(each);
    w = w_at.template fill<T>(each);
    bias = bias_at.template fill<T>(each);
    mask = y_at.template fill<T>(
        [&](std::size_t r, std::size_t c) { return static_cast<double>((r + 2 * c) % 3) - 1; });
  }

  void run(Output<T> &y, Range rows, Range panels, End end, bool with_bias) const {
    k.product({.x = x.data(),
               .x_stride = x_at.stride,
               .w = w.data(),
               .bias = with_bias ? bias.data() : nullptr,
               .y = y.data(),
               .y_stride = y_at.stride,
               .inputs = x_at.columns,
               .outputs = y_at.columns,
               .end = end,
               .mask = end == End::masked ? mask.data() : nullptr},
              rows, panels);
  }

  // x . w by the definition, row-major
  std::vector<double> sums() const {
    std::vector<double> found(y_at.rows * y_at.columns);
    for (std::size_t r = 0; r < y_at.rows; ++r)
      for (std::size_t i = 0; i < x_at.columns; ++i)
        for (std::size_t c = 0; c < y_at.columns; ++c)
          found[r * y_at.columns + c] +=
              static_cast<double>(x[x_at.at(r, i)]) * static_cast<double>(w[w_at.at(i, c)]);
    return found;
  }

  void check(const std::vector<double> &sums, Range rows, Range panels, End end, bool with_bias,
             Log &log) const {
    Output<T> y(y_at.size());
    for (std::size_t r = rows.begin; r < rows.end; ++r)
      for (std::size_t c = panels.begin * k.panel; c < panels.end * k.panel; ++c)
        if (c < y_at.columns) {
          double z = sums[r * y_at.columns + c];
          z += with_bias ? static_cast<double>(bias[c]) : 0;
          const bool open = end == End::plain || (end == End::relu && !(z < 0)) ||
                            (end == End::masked && mask[y_at.at(r, c)] > 0);
          y.want(y_at.at(r, c), open ? z : 0);
        } else
          y.ignore(y_at.at(r, c)); // the rest of the last panel
    run(y, rows, panels, end, with_bias);
    y.check(log, say("product of rows", rows.begin, "to", rows.end, "of", y_at.rows, "and panels",
                     panels.begin, "to", panels.end, "of", y_at.count(), "with", x_at.columns,
                     "inputs,", y_at.columns, "outputs, end", name(end), "bias", with_bias));
  }

  const Kernels<T> &k;
  Panels x_at, y_at;
  Panels w_at{k.panel, x_at.columns, y_at.columns, x_at.columns * k.panel};
  Panels bias_at{k.panel, 1, y_at.columns, k.panel};
  std::vector<T> x, w, bias, mask;
};

template <class T> void check_product(const Kernels<T> &k, Log &log) {
  const std::size_t P = k.panel;
  Numbers numbers;
  // Around the heights of tiles (6, 12, 14), the limits of a register and of a panel, the blocks of
  // depth (256), and the eight registers that a tile of few rows takes.
  for (const std::size_t rows : {0, 1, 2, 3, 6, 7, 12, 13, 14, 15, 29})
    for (const std::size_t inputs : {std::size_t{0}, std::size_t{1}, P - 1, P, P + 1, //
                                     std::size_t{300}, std::size_t{520}})
      for (const std::size_t outputs :
           {std::size_t{1}, P / 2, P / 2 + 1, P, P + 1, 4 * P - P / 2 + 1, 4 * P + 3}) {
        const ProductCase<T> one(k, rows, inputs, outputs, [&] { return numbers.exact(); });
        const auto sums = one.sums();
        const std::size_t panels = one.y_at.count();
        for (const End end : {End::plain, End::relu, End::masked})
          for (const bool bias : {false, true}) {
            one.check(sums, {0, rows}, {0, panels}, end, bias, log);
            if (rows >= 3)
              one.check(sums, {1, rows - 1}, {panels / 2, panels}, end, bias, log);
          }
        one.check(sums, {rows / 2, rows / 2}, {0, panels}, End::plain, true, log);
      }
}

// Enough rows and depth for several blocks of both.
template <class T> void check_large_product(const Kernels<T> &k, Log &log) {
  Numbers numbers;
  const ProductCase<T> one(k, 600, 520, k.panel + 1, [&] { return numbers.exact(); });
  for (const End end : {End::plain, End::relu, End::masked})
    one.check(one.sums(), {0, 600}, {0, 2}, end, true, log);
}

// A network that diverges must show it.
template <class T> void check_product_keeps_nan(const Kernels<T> &k, Log &log) {
  Numbers numbers;
  ProductCase<T> one(k, 5, 9, k.panel + 3, [&] { return numbers.exact(); });
  one.x[one.x_at.at(3, 4)] = std::numeric_limits<T>::quiet_NaN();
  for (const End end : {End::plain, End::relu})
    one.check(one.sums(), {0, 5}, {0, 2}, end, true, log);
}

// Each element is one chain of fma() in order of depth: its bits do not depend on the cut.
template <class T> void check_product_bits(const Kernels<T> &k, Log &log) {
  Numbers numbers;
  const ProductCase<T> one(k, 31, 300, 9 * k.panel + 3, [&] { return numbers.uniform(-1, 1); });
  const std::size_t rows = one.y_at.rows, panels = one.y_at.count();
  Output<T> whole(one.y_at.size());
  one.run(whole, {0, rows}, {0, panels}, End::plain, true);
  for (const std::size_t height : {1, 2, 5, 31})
    for (const std::size_t across : {std::size_t{1}, std::size_t{3}, panels}) {
      Output<T> y(one.y_at.size());
      for (std::size_t r = 0; r < rows; r += height)
        for (std::size_t p = 0; p < panels; p += across)
          one.run(y, {r, std::min(r + height, rows)}, {p, std::min(p + across, panels)}, End::plain,
                  true);
      for (std::size_t r = 0; r < rows; ++r)
        for (std::size_t c = 0; c < panels * k.panel; ++c) {
          const std::size_t at = one.y_at.at(r, c);
          if (c < one.y_at.columns)
            y.want(at, static_cast<double>(whole.data()[at]));
          else
            y.ignore(at);
        }
      y.check(log, say("bits of a product cut into", height, "rows by", across, "panels"));
    }
}

// g (inputs, outputs) = x^T (inputs, rows) . d (rows, outputs), for one panel of x
template <class T> struct OuterCase {
  const Kernels<T> &k;
  std::size_t rows, inputs, width;
  Panels x_at{k.panel, rows, inputs}, d_at{k.panel, rows, width};
  std::vector<T> x = {}, d = {};

  template <class Each> void fill(Each number) {
    const auto each = [&](std::size_t, std::size_t) { return number(); };
    x = x_at.template fill<T>(each);
    d = d_at.template fill<T>(each);
  }
  // g: the whole of it, of which the columns in `outputs` are filled
  void run(T *g, Range outputs, bool accumulate) const {
    k.outer({.x = x.data(),
             .d = d.data(),
             .d_stride = d_at.stride,
             .rows = rows,
             .g = g + outputs.begin,
             .g_width = width,
             .inputs = inputs,
             .outputs = outputs,
             .accumulate = accumulate});
  }
  double sum(std::size_t i, std::size_t j) const {
    double total = 0;
    for (std::size_t r = 0; r < rows; ++r)
      total += static_cast<double>(x[x_at.at(r, i)]) * static_cast<double>(d[d_at.at(r, j)]);
    return total;
  }
};

template <class T> void check_outer(const Kernels<T> &k, Log &log) {
  const std::size_t P = k.panel, width = 3 * P + P / 2 + 1;
  Numbers numbers;
  for (const std::size_t rows : {0, 1, 2, 127, 128, 129, 300}) // blocks of 128
    for (const std::size_t inputs : {std::size_t{1}, std::size_t{3}, P - 1, P}) {
      OuterCase<T> one{.k = k, .rows = rows, .inputs = inputs, .width = width};
      one.fill([&] { return numbers.exact(); });
      for (const Range outputs : {Range{0, 1}, Range{0, P / 2}, Range{0, P / 2 + 1}, Range{0, P},
                                  Range{P, 2 * P + 1}, Range{P, width}, Range{2 * P, 2 * P}})
        for (const bool accumulate : {false, true}) {
          Output<T> g(inputs * width);
          for (std::size_t i = 0; i < inputs; ++i)
            for (std::size_t j = outputs.begin; j < outputs.end; ++j) {
              const double before = accumulate ? numbers.exact() : 0;
              if (accumulate)
                g.put(i * width + j, static_cast<T>(before));
              g.want(i * width + j, before + one.sum(i, j));
            }
          one.run(g.data(), outputs, accumulate);
          g.check(log, say("outer of", rows, "rows,", inputs, "inputs, outputs", outputs.begin,
                           "to", outputs.end, "accumulate", accumulate));
        }
    }
}

template <class T> void check_outer_bits(const Kernels<T> &k, Log &log) {
  const std::size_t P = k.panel, width = 5 * P + 1, rows = 300;
  Numbers numbers;
  OuterCase<T> one{.k = k, .rows = rows, .inputs = P, .width = width};
  one.fill([&] { return numbers.uniform(-1, 1); });
  std::vector<T> whole(P * width);
  one.run(whole.data(), {0, width}, false);
  for (const std::size_t across : {std::size_t{1}, std::size_t{2}}) {
    Output<T> g(P * width);
    for (std::size_t j = 0; j < width; j += across * P)
      one.run(g.data(), {j, std::min(j + across * P, width)}, false);
    for (std::size_t i = 0; i < whole.size(); ++i)
      g.want(i, static_cast<double>(whole[i]));
    g.check(log, say("bits of an outer product cut into", across, "panels"));
  }
}

template <class T> void check_column_sums(const Kernels<T> &k, Log &log) {
  const std::size_t P = k.panel;
  Numbers numbers;
  for (const std::size_t rows : {0, 1, 2, 65})
    for (const std::size_t outputs : {std::size_t{1}, P / 2 - 1, P / 2, P - 1, P, P + 1, 3 * P + 2})
      for (const bool accumulate : {false, true}) {
        const Panels at{P, rows, outputs};
        const auto d = at.template fill<T>([&](auto, auto) { return numbers.exact(); });
        Output<T> sums(outputs);
        for (std::size_t j = 0; j < outputs; ++j) {
          double total = 0;
          if (accumulate) {
            total = numbers.exact();
            sums.put(j, static_cast<T>(total));
          }
          for (std::size_t r = 0; r < rows; ++r)
            total += static_cast<double>(d[at.at(r, j)]);
          sums.want(j, total);
        }
        k.column_sums(d.data(), at.stride, rows, outputs, sums.data(), accumulate);
        sums.check(
            log, say("column_sums of", rows, "rows,", outputs, "outputs, accumulate", accumulate));
      }
}

} // namespace

template <class T> void check_products(const Kernels<T> &k, Log &log) {
  check_product(k, log);
  check_large_product(k, log);
  check_product_keeps_nan(k, log);
  check_product_bits(k, log);
  check_outer(k, log);
  check_outer_bits(k, log);
  check_column_sums(k, log);
}

template void check_products(const Kernels<float> &, Log &);
template void check_products(const Kernels<double> &, Log &);

} // namespace culpa::tests
