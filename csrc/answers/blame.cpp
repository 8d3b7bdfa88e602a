#include "answers/blame.h"

#include <algorithm>
#include <cmath>

#include "stages/walk.h"

namespace culpa {

using kernels::active;

namespace {

// Panels back to rows: values (rows, columns), row-major.
template <class T> void unpack_rows(Matrix<T> from, Range rows, T scale, T *to) {
  const auto panel = active<T>().panel;
  for (std::size_t r = rows.begin; r < rows.end; ++r, to += from.columns)
    for (std::size_t begin = 0; begin < from.columns; begin += panel) {
      const T *values = from.data + begin / panel * from.stride + r * panel;
      const std::size_t count = std::min(panel, from.columns - begin);
      for (std::size_t j = 0; j < count; ++j)
        to[begin + j] = values[j] * scale;
    }
}

// dh/dz of a layer: of one without an array, relu's is told by h and the identity's is 1.
template <class T>
void unpack_slopes(const Stage &stage, Matrix<T> hidden, Matrix<T> slopes, Range rows, T *to) {
  unpack_rows(slopes.data ? slopes : hidden, rows, T(1), to);
  const bool relu = stage.activation == Activation::relu;
  const std::size_t n = slopes.data ? 0 : (rows.end - rows.begin) * hidden.columns;
  for (std::size_t i = 0; i < n; ++i)
    to[i] = static_cast<T>(!relu || to[i] > 0);
}

// Rows at once: some that stay in a core's own cache (training's larger blocks took 1.3 times as
// long on 64-100-10), for each thread. A gradient is summed block by block, so that its blocks must
// not depend on the threads.
template <class T> std::size_t block_rows(const Network &network, bool sparse, std::size_t shares) {
  const std::size_t width = (sparse ? 0 : network.inputs()) + 2 * network.values();
  const std::size_t rows = (std::size_t{512} << 10U) / (width * sizeof(T));
  return shares * std::clamp<std::size_t>(rows / 64 * 64, 256, 4096);
}

// What blame does in the phases of a walk: it keeps the answers.
template <class T> struct Keeping {
  const Pass<T> &pass;
  const BlameOut<T> &out;
  const BatchWeights &sample_weights;
  const Walked &walked;
  LossSums &sums;
  const Range units;
  const bool wants_gradient;

  void rows(const Block &block) const {
    Workspace<T> &space = pass.space;
    const Range mine = pass.crew.share({0, block.rows()});
    const std::size_t first = block.positions.begin;
    const auto unpack = [&](Matrix<T> from, T scale, T *to) {
      unpack_rows(from, mine, scale, to + (first + mine.begin) * from.columns);
    };
    for (std::size_t l = 0; l < pass.network.dense.size(); ++l) {
      const std::size_t s = pass.network.dense[l];
      const Matrix<T> h = space.hidden[s + 1];
      if (!out.nodes.empty())
        unpack(space.delta[s], T(1), out.nodes[l]);
      if (!out.hidden.empty())
        unpack(h, T(1), out.hidden[l]);
      if (!out.read.empty())
        unpack(space.hidden[s], T(1), out.read[l]);
      if (!out.slopes.empty())
        unpack_slopes(pass.stage(s), h, space.slopes[s], mine,
                      out.slopes[l] + (first + mine.begin) * h.columns);
    }
    if (out.inputs)
      unpack(space.input_delta, static_cast<T>(pass.network.input_scale), out.inputs);
    if (out.gradient_norms)
      square_norms(pass.network, space, mine);
    for (std::size_t r = mine.begin; r < mine.end; ++r) {
      if (out.losses)
        out.losses[first + r] = space.losses[r];
      if (out.gradient_norms)
        out.gradient_norms[first + r] = std::sqrt(space.example_squares[r]);
    }
    if (out.gradient)
      weigh_examples(pass, block, sample_weights);
  }
  bool goes_on() const { return !walked.stopped; } // else nothing of this block is worth anything
  void block_done(const Block &block) const {
    add_up(block.examples, pass.space, block.positions, sums);
  }
  static bool may_stop(bool /*last*/) { return true; }
  Place place(const Unit &unit, T *&gradient) const {
    gradient = pass.space.gradient.data();
    return pass.network.place_in_flat(unit);
  }
  static void unit_done(std::size_t /*unit*/, T * /*gradient*/, const Place & /*place*/) {}
};

} // namespace

template <class T>
LossSums blame(const Model<T> &model, const ExamplesView &examples, std::size_t rows,
               const BlameOut<T> &out, std::size_t threads, Interrupt interrupt) {
  const Network &network = model.network;
  const bool sparse = examples.x.sparse();
  // Asked about the inputs, even sparse rows need as much room as dense ones.
  const std::size_t height =
      std::min(rows, block_rows<T>(network, sparse && !out.inputs, out.gradient ? 2 : threads));
  const Plan plan = make_plan(network, height, Walk::train, threads, &examples.x);
  Workspace<T> space(network, {.rows = height,
                               .threads = plan.threads,
                               .flat_gradient = out.gradient != nullptr,
                               .sparse = sparse,
                               .inputs = out.inputs != nullptr});
  if (sparse)
    space.entries.reserve(most_entries(examples, {0, rows}, height), plan.threads);
  const Buffer<T> lowest_weight = out.inputs ? lowest_transposed(model) : Buffer<T>();

  const BatchWeights sample_weights = batch_weights(examples, {0, rows});
  const auto scale =
      static_cast<T>(sample_weights.weight_sum > 0 ? 1 / sample_weights.weight_sum : 0);
  LossSums sums;
  Walked walked;
  Poll poll(interrupt);
  run(plan.threads, [&](Crew crew) {
    crew.poll = &poll;
    crew.polls_signals = crew.index == 0;
    const Pass<T> pass{network, model.parameters, space, crew, plan.split, lowest_weight.data()};
    const Keeping<T> keeping{pass,
                             out,
                             sample_weights,
                             walked,
                             sums,
                             crew.share({0, network.units.size()}),
                             out.gradient != nullptr};
    walk(pass, examples, {0, rows}, nullptr, walked, keeping);
    crew.wait();
    if (out.gradient) {
      const Range mine = crew.share({0, network.parameters});
      for (std::size_t i = mine.begin; i < mine.end; ++i)
        out.gradient[i] = space.gradient[i] * scale;
    }
  });
  sums.row = walked.bad_row.load();
  sums.interrupted = poll.stopped();
  return sums;
}

#define CULPA_INSTANTIATE(T)                                                                       \
  template LossSums blame(const Model<T> &, const ExamplesView &, std::size_t,                     \
                          const BlameOut<T> &, std::size_t, Interrupt);
CULPA_INSTANTIATE(float)
CULPA_INSTANTIATE(double)

} // namespace culpa
