// z = x * factor, a learned factor for each input. Of sparse inputs it works on the entries alone.
//
// An example's gradient is delta * x, elementwise: `products` holds it.
#include "stages/stage.h"

namespace culpa {

using kernels::active;

namespace {

// f(entry, column) for the entries of some rows.
template <class T, class F> void each_entry(const SparseBlock<T> &entries, Range rows, F f) {
  for (std::size_t r = rows.begin; r < rows.end; ++r)
    for (std::size_t e = entries.begins[r]; e < entries.ends[r]; ++e)
      f(e, entries.columns[e]);
}

template <class T>
void forward(const Pass<T> &pass, std::size_t s, Matrix<T> z, kernels::End /*end*/, Range rows,
             Range some_panels) {
  const T *factor = pass.array(s, 0);
  if (pass.reads_entries(s)) {
    SparseBlock<T> &entries = pass.space.entries;
    const T *x = entries.values_after(s);
    T *to = entries.scaled[s].values.data();
    return each_entry(entries, rows,
                      [&](std::size_t e, std::size_t c) { to[e] = x[e] * factor[c]; });
  }
  times_vector(pass, s, pass.x(s), z, rows, some_panels);
}

template <class T>
void backward(const Pass<T> &pass, std::size_t s, Matrix<T> below, const T * /*mask*/, Range rows,
              Range some_panels) {
  if (pass.reads_entries(s) && s > 0) {
    SparseBlock<T> &entries = pass.space.entries;
    const T *factor = pass.array(s, 0), *from = entries.scaled[s].delta.data();
    T *to = entries.scaled[s - 1].delta.data();
    each_entry(entries, rows, [&](std::size_t e, std::size_t c) { to[e] = from[e] * factor[c]; });
  }
  if (below.data)
    times_vector(pass, s, pass.space.delta[s], below, rows, some_panels);
}

template <class T>
void multiply(const Pass<T> &pass, std::size_t s, Range rows, Range some_panels) {
  if (pass.reads_entries(s)) {
    SparseBlock<T> &entries = pass.space.entries;
    const T *x = entries.values_after(s), *delta = entries.scaled[s].delta.data();
    T *to = entries.scaled[s].products.data();
    return each_entry(entries, rows, [&](std::size_t e, std::size_t) { to[e] = delta[e] * x[e]; });
  }
  fill_products(pass, s, pass.x(s), rows, some_panels);
}

// As column_sums has it, which deals rows to four sums; zeros add nothing.
template <class T>
void sum_entries(const SparseBlock<T> &entries, std::size_t s, Range columns, T *sums,
                 bool accumulate) {
  const T *products = entries.scaled[s].products.data();
  for (std::size_t c = columns.begin; c < columns.end; ++c, ++sums) {
    T total[4] = {};
    for (std::size_t i = entries.column_begins[c]; i < entries.column_begins[c + 1]; ++i)
      total[entries.rows[i] % 4] += products[entries.places[i]];
    const T sum = (total[0] + total[1]) + (total[2] + total[3]);
    *sums = accumulate ? *sums + sum : sum;
  }
}

template <class T>
void gradient(const Network & /*network*/, const Workspace<T> &space, const Unit &unit,
              std::size_t rows, T *gradient, const Place &place, bool accumulate) {
  const auto &k = active<T>();
  const Matrix<T> products = space.products[unit.stage];
  T *to = gradient + place.offset;
  if (!products.data)
    return sum_entries(space.entries, unit.stage, unit.outputs, to, accumulate);
  k.column_sums(products.data + unit.outputs.begin / k.panel * products.stride, products.stride,
                rows, place.width, to, accumulate);
}

template <class T>
void square_norms(const Network &network, Workspace<T> &space, std::size_t s, Range rows,
                  double *sums) {
  const auto &k = active<T>();
  const Matrix<T> products = space.products[s];
  if (products.data)
    return k.row_squares({.values = products.data,
                          .stride = products.stride,
                          .columns = products.columns,
                          .rows = rows,
                          .sums = sums});
  kernels::Entries<T> entries = space.entries.view();
  entries.values = space.entries.scaled[s].products.data();
  k.sparse_row_squares(
      {.x = entries, .columns = network.stages[s].inputs, .rows = rows, .sums = sums});
}

template <class T>
void tangent(const Pass<T> &pass, std::size_t s, Matrix<T> dx, Matrix<T> /*skip*/, Matrix<T> dz,
             Range rows, Range some_panels) {
  times_vector(pass, s, dx, dz, rows, some_panels);
}

template <class T>
void terms(const Workspace<T> &space, std::size_t s, std::vector<Term<T>> &terms) {
  terms.push_back({.left = {}, .right = space.products[s]});
}

} // namespace

template <class T> const StageKind<T> &scale_stage() {
  static constexpr StageKind<T> kind = {.fuses_relu = false,
                                        .whole_rows = false,
                                        .forward = forward<T>,
                                        .backward = backward<T>,
                                        .multiply = multiply<T>,
                                        .gradient = gradient<T>,
                                        .square_norms = square_norms<T>,
                                        .tangent = tangent<T>,
                                        .terms = terms<T>};
  return kind;
}
template const StageKind<float> &scale_stage();
template const StageKind<double> &scale_stage();

} // namespace culpa
