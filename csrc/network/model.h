// A network with its weights, and what training it remembers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "network/network.h"
#include "network/optimizer.h"
#include "network/parameters.h"
#include "network/workspace.h"
#include "threads/guard.h"

namespace culpa {

// Readers share `guard`, a chunk of training or a change of weights holds it alone.
template <class T> struct Model {
  Model(Network shape, std::uint64_t seed_, std::size_t member_)
      : network(std::move(shape)), seed(seed_), member(member_), parameters(network) {}

  const Network network;
  const std::uint64_t seed;
  const std::size_t member; // among models that share a seed
  Parameters<T> parameters;
  Optimizer optimizer;
  Moments<T> moments;
  bool has_moments = false;
  std::uint64_t steps = 0; // batches seen: the counter of dropout. Counted, as those of the
                           // moments, with each step, for what reads a model between steps.
  std::unique_ptr<Workspace<T>> space;
  mutable Guard guard;
};

// The lowest layer's weight transposed, for passes that ask about the inputs; empty where the
// lowest layer is not dense.
template <class T> Buffer<T> lowest_transposed(const Model<T> &model) {
  const Network &network = model.network;
  const Stage &lowest = network.stages[network.lowest];
  return lowest.kind == Kind::dense ? model.parameters.transposed(network.array(lowest, 0))
                                    : Buffer<T>();
}

} // namespace culpa
