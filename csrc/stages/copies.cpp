// Stages without arrays: z = x, for an activation or dropout that no other stage precedes, and
// z = x + another value, the end of a residual (He, Zhang, Ren & Sun 2016, "Deep residual learning
// for image recognition", equation 1). The other value's error signals are added by the walk.
#include "stages/stage.h"

namespace culpa {

using kernels::active;

namespace {

// sums += values
template <class T> void add_rows(Matrix<T> values, Matrix<T> sums, Range rows, Range some_panels) {
  const auto &k = active<T>();
  for (std::size_t p = some_panels.begin; p < some_panels.end; ++p)
    k.add(sums.data + p * sums.stride + rows.begin * k.panel,
          values.data + p * values.stride + rows.begin * k.panel,
          (rows.end - rows.begin) * k.panel);
}

template <class T>
void forward(const Pass<T> &pass, std::size_t s, Matrix<T> z, kernels::End /*end*/, Range rows,
             Range some_panels) {
  copy_rows(pass.x(s), z, rows, some_panels);
}

template <class T>
void backward(const Pass<T> &pass, std::size_t s, Matrix<T> below, const T * /*mask*/, Range rows,
              Range some_panels) {
  copy_rows(pass.space.delta[s], below, rows, some_panels);
}

template <class T>
void tangent(const Pass<T> & /*pass*/, std::size_t /*s*/, Matrix<T> dx, Matrix<T> /*skip*/,
             Matrix<T> dz, Range rows, Range some_panels) {
  copy_rows(dx, dz, rows, some_panels);
}

template <class T>
void forward_sum(const Pass<T> &pass, std::size_t s, Matrix<T> z, kernels::End /*end*/, Range rows,
                 Range some_panels) {
  copy_rows(pass.x(s), z, rows, some_panels);
  add_rows(pass.space.hidden[pass.stage(s).skip], z, rows, some_panels);
}

template <class T>
void tangent_of_sum(const Pass<T> & /*pass*/, std::size_t /*s*/, Matrix<T> dx, Matrix<T> skip,
                    Matrix<T> dz, Range rows, Range some_panels) {
  copy_rows(dx, dz, rows, some_panels);
  add_rows(skip, dz, rows, some_panels);
}

} // namespace

template <class T> const StageKind<T> &elementwise_stage() {
  static constexpr StageKind<T> kind = {.fuses_relu = false,
                                        .whole_rows = false,
                                        .forward = forward<T>,
                                        .backward = backward<T>,
                                        .multiply = nullptr,
                                        .gradient = nullptr,
                                        .square_norms = nullptr,
                                        .tangent = tangent<T>,
                                        .terms = nullptr};
  return kind;
}
template <class T> const StageKind<T> &add_stage() {
  static constexpr StageKind<T> kind = {.fuses_relu = false,
                                        .whole_rows = false,
                                        .forward = forward_sum<T>,
                                        .backward = backward<T>,
                                        .multiply = nullptr,
                                        .gradient = nullptr,
                                        .square_norms = nullptr,
                                        .tangent = tangent_of_sum<T>,
                                        .terms = nullptr};
  return kind;
}
template const StageKind<float> &elementwise_stage();
template const StageKind<double> &elementwise_stage();
template const StageKind<float> &add_stage();
template const StageKind<double> &add_stage();

} // namespace culpa
