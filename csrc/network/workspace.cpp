#include "network/workspace.h"

#include <algorithm>

namespace culpa {

namespace {

// Rows between two panels: one panel's rows, padded so that neighbouring panels never start on the
// same cache sets (the first cache repeats every 4 KB).
std::size_t padded_rows(std::size_t rows, std::size_t row_bytes) {
  const std::size_t period = 4096 / row_bytes; // a power of two
  return (rows + period - 15) / period * period + 15;
}

std::size_t padded(std::size_t columns, std::size_t panel) {
  return panels(columns, panel) * panel;
}

constexpr std::size_t unit_outputs = 512;

} // namespace

bool keeps_slopes(const Layer &layer) {
  return layer.dropout > 0 ||
         (layer.activation != Activation::identity && layer.activation != Activation::relu);
}

std::size_t rows_per_block(const Network &network, std::size_t item_size, bool sparse) {
  std::size_t width = sparse ? 0 : network.inputs();
  for (const Layer &layer : network.layers)
    width += 2 * layer.outputs;
  const std::size_t rows = (std::size_t{32} << 20U) / (width * item_size);
  return std::clamp<std::size_t>(rows / 256 * 256, 256, 4096);
}

template <class T>
Workspace<T>::Workspace(const Network &network, std::size_t capacity, std::size_t thread_count,
                        bool flat_gradient, bool all_slopes, bool sparse_inputs)
    : rows(capacity), threads(thread_count), sparse(sparse_inputs),
      entries(sparse ? SparseBlock<T>(capacity, network.inputs()) : SparseBlock<T>()),
      losses(capacity), scores(capacity), example_squares(capacity), layer_squares(2 * capacity),
      labels(capacity), targets(capacity * network.outputs()),
      gradient(flat_gradient ? network.parameters : 0) {
  const auto panel = kernels::active<T>().panel;
  stride_rows_ = padded_rows(capacity, panel * sizeof(T));
  std::size_t columns = sparse ? 0 : padded(network.inputs(), panel);
  for (const Layer &layer : network.layers)
    columns += padded(layer.outputs, panel) * (all_slopes || keeps_slopes(layer) ? 3 : 2);
  storage_ = Buffer<T>(columns * stride_rows_);

  hidden.push_back(sparse ? Matrix<T>{} : matrix(network.inputs()));
  for (const Layer &layer : network.layers) {
    hidden.push_back(matrix(layer.outputs));
    delta.push_back(matrix(layer.outputs));
    slopes.push_back(all_slopes || keeps_slopes(layer) ? matrix(layer.outputs) : Matrix<T>{});
  }
  for (std::size_t l = 0; l < network.layers.size(); ++l) {
    const Layer &layer = network.layers[l];
    units.push_back({l, {0, 0}, {0, layer.outputs}});
    // Outputs first: their error signals stay in the second cache while the inputs stream by.
    for (std::size_t j = 0; j < layer.outputs; j += unit_outputs)
      for (std::size_t i = 0; i < layer.inputs; i += panel)
        units.push_back({l,
                         {i, std::min(i + panel, layer.inputs)},
                         {j, std::min(j + unit_outputs, layer.outputs)}});
  }
  for (std::size_t i = 0; i < threads; ++i)
    row_buffers.emplace_back(sparse ? 0 : network.inputs());
  std::size_t widest = 0;
  for (const Layer &layer : network.layers)
    widest = std::max(widest, layer.outputs);
  piece_size =
      std::max(padded(widest, panel), panel * std::min(padded(widest, panel), unit_outputs));
  pieces = Buffer<T>(threads * piece_size);
  scratch_size = padded(network.outputs(), panel) * panel;
  scratch = Buffer<T>(threads * scratch_size);
  squares = Buffer<double>(units.size());
  norms = Buffer<double>(units.size());
}

template <class T> Matrix<T> Workspace<T>::matrix(std::size_t columns) {
  const auto panel = kernels::active<T>().panel;
  const Matrix<T> result{storage_.data() + used_, stride_rows_ * panel, columns};
  used_ += padded(columns, panel) * stride_rows_;
  return result;
}

template struct Workspace<float>;
template struct Workspace<double>;

} // namespace culpa
