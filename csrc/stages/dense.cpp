// z = x . weight + bias
//
// An example's gradient is the outer product of x and delta, its bias's is delta (Goodfellow 2015,
// "Efficient per-example gradient computations"), so its squared norm is
// ||delta||^2 (||x||^2 + 1), and the dot product of two is (x . x' + 1) (delta . delta').
#include <algorithm>

#include "stages/stage.h"

namespace culpa {

using kernels::active;

namespace {

template <class T>
void forward(const Pass<T> &pass, std::size_t s, Matrix<T> z, kernels::End end, Range rows,
             Range some_panels) {
  const auto &k = active<T>();
  const Stage &stage = pass.stage(s);
  if (pass.reads_entries(s))
    return k.sparse_product({.x = pass.space.entries.view(s),
                             .w = pass.array(s, 0),
                             .bias = pass.array(s, 1),
                             .y = z.data,
                             .y_stride = z.stride,
                             .inputs = stage.inputs,
                             .outputs = stage.outputs,
                             .end = end},
                            rows, some_panels);
  const Matrix<T> x = pass.x(s);
  k.product({.x = x.data,
             .x_stride = x.stride,
             .w = pass.array(s, 0),
             .bias = pass.array(s, 1),
             .y = z.data,
             .y_stride = z.stride,
             .inputs = stage.inputs,
             .outputs = stage.outputs,
             .end = end},
            rows, some_panels);
}

// below (rows, inputs) = delta (rows, outputs) . weight^T
template <class T>
void backward(const Pass<T> &pass, std::size_t s, Matrix<T> below, const T *mask, Range rows,
              Range some_panels) {
  const auto &k = active<T>();
  const Stage &stage = pass.stage(s);
  const Matrix<T> delta = pass.space.delta[s];
  if (s > 0 && pass.reads_entries(s))
    k.sparse_back({.x = pass.space.entries.view(),
                   .d = delta.data,
                   .d_stride = delta.stride,
                   .w = pass.parameters.values.data() + pass.network.array(stage, 0).offset,
                   .outputs = stage.outputs,
                   .rows = rows,
                   .to = pass.space.entries.scaled[s - 1].delta.data()});
  if (!below.data)
    return;
  const T *weight = pass.parameters.backward(stage.first_array);
  k.product({.x = delta.data,
             .x_stride = delta.stride,
             .w = weight ? weight : pass.lowest_weight,
             .bias = nullptr,
             .y = below.data,
             .y_stride = below.stride,
             .inputs = stage.outputs,
             .outputs = stage.inputs,
             .end = mask ? kernels::End::masked : kernels::End::plain,
             .mask = mask},
            rows, some_panels);
}

template <class T>
void gradient(const Network & /*network*/, const Workspace<T> &space, const Unit &unit,
              std::size_t rows, T *gradient, const Place &place, bool accumulate) {
  const auto &k = active<T>();
  const Matrix<T> delta = space.delta[unit.stage];
  const Range inputs = unit.inputs;
  T *to = gradient + place.offset;
  if (unit.vector())
    return k.column_sums(delta.data, delta.stride, rows, place.width, to, accumulate);
  const Matrix<T> x = space.hidden[unit.stage];
  if (!x.data)
    return k.sparse_outer({.begins = space.entries.column_begins.data() + inputs.begin,
                           .rows = space.entries.rows.data(),
                           .values = space.entries.column_values.data(),
                           .d = delta.data,
                           .d_stride = delta.stride,
                           .g = to,
                           .g_width = place.stride,
                           .inputs = inputs.end - inputs.begin,
                           .outputs = unit.outputs,
                           .accumulate = accumulate});
  k.outer({.x = x.data + inputs.begin / k.panel * x.stride,
           .d = delta.data,
           .d_stride = delta.stride,
           .rows = rows,
           .g = to,
           .g_width = place.stride,
           .inputs = inputs.end - inputs.begin,
           .outputs = unit.outputs,
           .accumulate = accumulate});
}

template <class T>
void square_norms(const Network &network, Workspace<T> &space, std::size_t s, Range rows,
                  double *sums) {
  const auto &k = active<T>();
  const Matrix<T> x = space.hidden[s], delta = space.delta[s];
  double *of_x = space.stage_squares.data(), *of_delta = of_x + space.rows;
  std::fill(of_x + rows.begin, of_x + rows.end, 1.0);
  std::fill(of_delta + rows.begin, of_delta + rows.end, 0.0);
  if (x.data)
    k.row_squares(
        {.values = x.data, .stride = x.stride, .columns = x.columns, .rows = rows, .sums = of_x});
  else
    k.sparse_row_squares({.x = space.entries.view(s),
                          .columns = network.stages[s].inputs,
                          .rows = rows,
                          .sums = of_x});
  k.row_squares({.values = delta.data,
                 .stride = delta.stride,
                 .columns = delta.columns,
                 .rows = rows,
                 .sums = of_delta});
  for (std::size_t r = rows.begin; r < rows.end; ++r)
    sums[r] += of_delta[r] * of_x[r];
}

template <class T>
void tangent(const Pass<T> &pass, std::size_t s, Matrix<T> dx, Matrix<T> /*skip*/, Matrix<T> dz,
             Range rows, Range some_panels) {
  active<T>().product({.x = dx.data,
                       .x_stride = dx.stride,
                       .w = pass.array(s, 0),
                       .bias = nullptr,
                       .y = dz.data,
                       .y_stride = dz.stride,
                       .inputs = dx.columns,
                       .outputs = dz.columns},
                      rows, some_panels);
}

template <class T>
void terms(const Workspace<T> &space, std::size_t s, std::vector<Term<T>> &terms) {
  terms.push_back({.left = space.hidden[s], .right = space.delta[s]});
}

} // namespace

template <class T> const StageKind<T> &dense_stage() {
  static constexpr StageKind<T> kind = {.fuses_relu = true,
                                        .whole_rows = false,
                                        .forward = forward<T>,
                                        .backward = backward<T>,
                                        .multiply = nullptr,
                                        .gradient = gradient<T>,
                                        .square_norms = square_norms<T>,
                                        .tangent = tangent<T>,
                                        .terms = terms<T>};
  return kind;
}
template const StageKind<float> &dense_stage();
template const StageKind<double> &dense_stage();

} // namespace culpa
