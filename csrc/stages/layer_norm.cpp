// z = normalized * gain + shift, normalized = (x - mean) / sqrt(variance + epsilon), each row by
// its own mean and variance (Ba, Kiros & Hinton 2016, "Layer normalization").
//
// An example's gradient is delta * normalized (`products` holds it) for the gain, and delta for the
// shift.
#include "stages/stage.h"

namespace culpa {

using kernels::active;

namespace {

template <class T>
void forward(const Pass<T> &pass, std::size_t s, Matrix<T> z, kernels::End /*end*/, Range rows,
             Range some_panels) {
  const auto &k = active<T>();
  const Matrix<T> x = pass.x(s), normalized = pass.space.normalized[s];
  k.normalize({.x = x.data,
               .x_stride = x.stride,
               .columns = x.columns,
               .rows = rows,
               .epsilon = static_cast<T>(pass.stage(s).epsilon),
               .y = normalized.data,
               .y_stride = normalized.stride,
               .inverses = pass.space.inverses[s]});
  k.affine({.x = normalized.data,
            .x_stride = normalized.stride,
            .factor = pass.array(s, 0),
            .shift = pass.array(s, 1),
            .y = z.data,
            .y_stride = z.stride},
           rows, some_panels);
}

// In place, by dnormalized/dx, which is symmetric.
template <class T>
void through_normalization(const Pass<T> &pass, std::size_t s, Matrix<T> values, Range rows) {
  const Matrix<T> normalized = pass.space.normalized[s];
  active<T>().normalize_back({.y = normalized.data,
                              .y_stride = normalized.stride,
                              .columns = normalized.columns,
                              .rows = rows,
                              .inverses = pass.space.inverses[s],
                              .delta = values.data,
                              .delta_stride = values.stride});
}

template <class T>
void backward(const Pass<T> &pass, std::size_t s, Matrix<T> below, const T * /*mask*/, Range rows,
              Range some_panels) {
  times_vector(pass, s, pass.space.delta[s], below, rows, some_panels);
  through_normalization(pass, s, below, rows);
}

template <class T>
void tangent(const Pass<T> &pass, std::size_t s, Matrix<T> dx, Matrix<T> /*skip*/, Matrix<T> dz,
             Range rows, Range some_panels) {
  copy_rows(dx, dz, rows, some_panels);
  through_normalization(pass, s, dz, rows);
  times_vector(pass, s, dz, dz, rows, some_panels);
}

template <class T>
void multiply(const Pass<T> &pass, std::size_t s, Range rows, Range some_panels) {
  fill_products(pass, s, pass.space.normalized[s], rows, some_panels);
}

template <class T>
void gradient(const Network &network, const Workspace<T> &space, const Unit &unit, std::size_t rows,
              T *gradient, const Place &place, bool accumulate) {
  const auto &k = active<T>();
  const bool gain = unit.array == network.stages[unit.stage].first_array;
  const Matrix<T> from = gain ? space.products[unit.stage] : space.delta[unit.stage];
  k.column_sums(from.data + unit.outputs.begin / k.panel * from.stride, from.stride, rows,
                place.width, gradient + place.offset, accumulate);
}

template <class T>
void square_norms(const Network & /*network*/, Workspace<T> &space, std::size_t s, Range rows,
                  double *sums) {
  for (const Matrix<T> &own : {space.products[s], space.delta[s]})
    active<T>().row_squares({.values = own.data,
                             .stride = own.stride,
                             .columns = own.columns,
                             .rows = rows,
                             .sums = sums});
}

template <class T>
void terms(const Workspace<T> &space, std::size_t s, std::vector<Term<T>> &terms) {
  terms.push_back({.left = {}, .right = space.products[s]});
  terms.push_back({.left = {}, .right = space.delta[s]});
}

} // namespace

template <class T> const StageKind<T> &layer_norm_stage() {
  static constexpr StageKind<T> kind = {.fuses_relu = false,
                                        .whole_rows = true,
                                        .forward = forward<T>,
                                        .backward = backward<T>,
                                        .multiply = multiply<T>,
                                        .gradient = gradient<T>,
                                        .square_norms = square_norms<T>,
                                        .tangent = tangent<T>,
                                        .terms = terms<T>};
  return kind;
}
template const StageKind<float> &layer_norm_stage();
template const StageKind<double> &layer_norm_stage();

} // namespace culpa
