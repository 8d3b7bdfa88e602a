// The weights: one flat vector that is the truth, and the copies in panels that the walks read.
// Whoever changes the vector repacks the range; so the copies are never stale.
#pragma once

#include <cstddef>
#include <vector>

#include "buffer.h"
#include "network/network.h"

namespace culpa {

template <class T> struct Parameters {
  explicit Parameters(const Network &network);

  // Refreshes the copies of one unit, or of all.
  void repack(const Network &network, const Unit &unit);
  void repack_all(const Network &network);

  // The copies that the stages read: w forward and, transposed, backward; a vector padded to whole
  // panels.
  const T *forward(std::size_t array) const { return packed.data() + copies[array].forward; }
  const T *backward(std::size_t array) const {
    return copies[array].backward == none ? nullptr : packed.data() + copies[array].backward;
  }
  // A weight transposed, in panels: for those who ask about the inputs of the lowest layer.
  Buffer<T> transposed(const Array &weight) const;

  Buffer<T> values;
  struct Copies {
    std::size_t forward, backward; // offsets into `packed`
  };
  std::vector<Copies> copies; // per array
  // The lowest layer has no backward copy: training never asks who is to blame in the inputs.
  static constexpr std::size_t none = ~std::size_t{0};
  Buffer<T> packed;
};

} // namespace culpa
