#include "network/parameters.h"

#include <algorithm>

namespace culpa {

template <class T> Parameters<T>::Parameters(const Network &network) : values(network.parameters) {
  const auto panel = kernels::active<T>().panel;
  const auto padded = [panel](std::size_t columns) { return panels(columns, panel) * panel; };
  const std::size_t free = network.stages[network.lowest].first_array; // of an error signal
  std::size_t end = 0;
  for (std::size_t a = 0; a < network.arrays.size(); ++a) {
    const Array &array = network.arrays[a];
    Copies copy{end, none};
    end += array.rows * padded(array.columns);
    if (!array.vector && a != free) {
      copy.backward = end;
      end += array.columns * padded(array.rows);
    }
    copies.push_back(copy);
  }
  packed = Buffer<T>(end);
}

template <class T> void Parameters<T>::repack(const Network &network, const Unit &unit) {
  const Array &array = network.arrays[unit.array];
  const Copies &copy = copies[unit.array];
  const T *from = values.data() + array.offset;
  T *to = packed.data() + copy.forward;
  if (unit.vector())
    std::copy(from + unit.outputs.begin, from + unit.outputs.end, to + unit.outputs.begin);
  else
    kernels::active<T>().pack(
        {.w = from,
         .n_inputs = array.rows,
         .n_outputs = array.columns,
         .inputs = unit.inputs,
         .outputs = unit.outputs,
         .forward = to,
         .backward = copy.backward == none ? nullptr : packed.data() + copy.backward});
}

template <class T> void Parameters<T>::repack_all(const Network &network) {
  for (const Unit &unit : network.units)
    repack(network, unit);
}

template <class T> Buffer<T> Parameters<T>::transposed(const Array &weight) const {
  const auto &k = kernels::active<T>();
  Buffer<T> backward(weight.columns * panels(weight.rows, k.panel) * k.panel);
  k.pack({.w = values.data() + weight.offset,
          .n_inputs = weight.rows,
          .n_outputs = weight.columns,
          .inputs = {0, weight.rows},
          .outputs = {0, weight.columns},
          .forward = nullptr,
          .backward = backward.data()});
  return backward;
}

template struct Parameters<float>;
template struct Parameters<double>;

} // namespace culpa
