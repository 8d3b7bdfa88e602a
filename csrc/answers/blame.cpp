#include "answers/blame.h"

#include <algorithm>
#include <atomic>
#include <cmath>

#include "threads/share.h"

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
void unpack_slopes(const Layer &layer, Matrix<T> hidden, Matrix<T> slopes, Range rows, T *to) {
  unpack_rows(slopes.data ? slopes : hidden, rows, T(1), to);
  const bool relu = layer.activation == Activation::relu;
  const std::size_t n = slopes.data ? 0 : (rows.end - rows.begin) * hidden.columns;
  for (std::size_t i = 0; i < n; ++i)
    to[i] = static_cast<T>(!relu || to[i] > 0);
}

// Rows at once: some that stay in a core's own cache (training's larger blocks took 1.3 times as
// long on 64-100-10), for each thread. A gradient is summed block by block, so that its blocks must
// not depend on the threads.
template <class T> std::size_t block_rows(const Network &network, bool sparse, std::size_t shares) {
  std::size_t width = sparse ? 0 : network.inputs();
  for (const Layer &layer : network.layers)
    width += 2 * layer.outputs;
  const std::size_t rows = (std::size_t{512} << 10U) / (width * sizeof(T));
  return shares * std::clamp<std::size_t>(rows / 64 * 64, 256, 4096);
}

} // namespace

template <class T>
LossSums blame(const Model<T> &model, const ExamplesView &examples, std::size_t rows,
               const BlameOut<T> &out, std::size_t threads, Interrupt interrupt) {
  const Network &network = model.network;
  const auto panel = active<T>().panel;
  const bool sparse = examples.x.sparse();
  // Asked about the inputs, even sparse rows need as much room as dense ones.
  const std::size_t height =
      std::min(rows, block_rows<T>(network, sparse && !out.inputs, out.gradient ? 2 : threads));
  const Plan plan = make_plan(network, height, Walk::train, threads, &examples.x);
  Workspace<T> space(network, height, plan.threads, out.gradient != nullptr, false, sparse);
  if (sparse)
    space.entries.reserve(most_entries(examples, {0, rows}, height), plan.threads);

  // The inputs' error signals need what training does without: the first weights transposed.
  Buffer<T> first_weights, input_storage;
  Matrix<T> input_delta{nullptr, space.hidden[1].stride, network.inputs()};
  if (out.inputs) {
    first_weights = model.parameters.transposed_first(network.layers.front());
    input_storage = Buffer<T>(panels(network.inputs(), panel) * input_delta.stride);
    input_delta.data = input_storage.data();
  }

  const BatchWeights sample_weights = batch_weights(examples, {0, rows});
  const auto scale =
      static_cast<T>(sample_weights.weight_sum > 0 ? 1 / sample_weights.weight_sum : 0);
  LossSums sums;
  std::atomic<std::size_t> bad_row{no_row};
  Poll poll(interrupt);
  bool stop = false;
  run(plan.threads, [&](Crew crew) {
    crew.poll = &poll;
    crew.polls_signals = crew.index == 0;
    for (std::size_t begin = 0; begin < rows; begin += height) {
      const Block block{examples, {begin, std::min(begin + height, rows)}, nullptr};
      forward(network, model.parameters, space, block, crew, plan.split, bad_row);
      backward(network, model.parameters, space, block, crew, plan.split,
               out.inputs ? &input_delta : nullptr, out.inputs ? first_weights.data() : nullptr);
      if (plan.split == Split::columns)
        crew.wait();
      const Range mine = crew.share({0, block.rows()});
      for (std::size_t l = 0; l < out.nodes.size(); ++l)
        unpack_rows(space.delta[l], mine, T(1),
                    out.nodes[l] + (begin + mine.begin) * space.delta[l].columns);
      for (std::size_t l = 0; l < out.hidden.size(); ++l)
        unpack_rows(space.hidden[l + 1], mine, T(1),
                    out.hidden[l] + (begin + mine.begin) * space.hidden[l + 1].columns);
      for (std::size_t l = 0; l < out.slopes.size(); ++l)
        unpack_slopes(network.layers[l], space.hidden[l + 1], space.slopes[l], mine,
                      out.slopes[l] + (begin + mine.begin) * space.hidden[l + 1].columns);
      if (out.inputs)
        unpack_rows(input_delta, mine, static_cast<T>(network.input_scale),
                    out.inputs + (begin + mine.begin) * network.inputs());
      if (out.gradient_norms)
        square_norms(network, space, mine);
      for (std::size_t r = mine.begin; r < mine.end; ++r) {
        if (out.losses)
          out.losses[begin + r] = space.losses[r];
        if (out.gradient_norms)
          out.gradient_norms[begin + r] = std::sqrt(space.example_squares[r]);
      }
      if (out.gradient)
        weigh_examples(space, block, sample_weights, crew);
      if (!crew.going() && crew.index == 0)
        stop = true;
      crew.wait();
      if (stop) // nothing of this block is worth anything
        break;
      if (crew.index == 0)
        add_up(examples, space, block.positions, sums);
      if (out.gradient && sparse) {
        transpose(space.entries, block.rows(), crew);
        crew.wait();
      }
      if (out.gradient) {
        const Range units = crew.share({0, space.units.size()});
        for (std::size_t u = units.begin; u < units.end && crew.going(); ++u)
          sum_gradient(space, block.rows(), space.units[u], space.gradient.data(),
                       place_in_flat(network, space.units[u]), begin > 0);
      }
      crew.wait();
    }
    if (out.gradient) {
      const Range mine = crew.share({0, network.parameters});
      for (std::size_t i = mine.begin; i < mine.end; ++i)
        out.gradient[i] = space.gradient[i] * scale;
    }
  });
  sums.row = bad_row.load();
  sums.interrupted = poll.stopped();
  return sums;
}

#define CULPA_INSTANTIATE(T)                                                                       \
  template LossSums blame(const Model<T> &, const ExamplesView &, std::size_t,                     \
                          const BlameOut<T> &, std::size_t, Interrupt);
CULPA_INSTANTIATE(float)
CULPA_INSTANTIATE(double)

} // namespace culpa
