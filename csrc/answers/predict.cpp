// Guesses without blame: blocks of rows small enough to stay in a core's own cache, handed to the
// threads one after the other; two buffers take turns as input and output of a layer.
#include <algorithm>
#include <atomic>
#include <vector>

#include "answers/blame.h"
#include "stages/exact.h"
#include "threads/share.h"

namespace culpa {

using kernels::active;

namespace {

constexpr std::size_t block_rows = 126; // nine tiles of 14 rows, twenty-one of 6

template <class T> struct PredictSpace {
  PredictSpace(const Network &network, std::size_t rows, bool judges, bool sparse)
      : entries(sparse ? SparseBlock<T>(rows, 0) : SparseBlock<T>()),
        row_buffer(sparse ? 0 : network.inputs()), labels(judges ? rows : 0),
        targets(judges ? rows * network.outputs() : 0) {
    const auto panel = active<T>().panel;
    std::size_t widest = sparse ? 0 : network.inputs();
    for (const Layer &layer : network.layers)
      widest = std::max(widest, layer.outputs);
    stride = (rows + (rows > 1 ? 1 : 0)) * panel;
    const std::size_t size = panels(widest, panel) * stride;
    storage = Buffer<T>(2 * size);
    buffers[0] = storage.data();
    buffers[1] = storage.data() + size;
    if (judges)
      scratch = Buffer<T>(panels(network.outputs(), panel) * panel * panel);
  }
  std::size_t stride = 0;
  Buffer<T> storage, scratch;
  T *buffers[2] = {};
  SparseBlock<T> entries;
  RowBuffer row_buffer;
  Buffer<std::int32_t> labels;
  Buffer<T> targets;
};

template <class T>
std::size_t predict_block(const Model<T> &model, const ExamplesView &examples, Range rows,
                          PredictSpace<T> &space, const PredictOut<T> &out, const Crew &crew) {
  const Network &network = model.network;
  const auto &k = active<T>();
  const auto panel = k.panel;
  const std::size_t count = rows.end - rows.begin, outputs = network.outputs();
  const bool sparse = examples.x.sparse();
  Matrix<T> x{space.buffers[0], space.stride, network.inputs()};
  const auto scale = static_cast<T>(network.input_scale);
  std::size_t bad =
      sparse ? gather_entries(examples, rows, scale, space.entries, Crew{})
             : gather(examples.x, examples, rows, rows.begin, scale, x, space.row_buffer);
  for (std::size_t l = 0; l < network.layers.size(); ++l) {
    if (!crew.going())
      return no_row;
    const Layer &layer = network.layers[l];
    const Matrix<T> h{space.buffers[(l + 1) % 2], space.stride, layer.outputs};
    forward_layer<T>(model.parameters, layer, l, x, h, nullptr, {0, count},
                     {0, panels(layer.outputs, panel)}, nullptr,
                     l == 0 && sparse ? &space.entries : nullptr);
    x = h;
  }
  for (std::size_t r = 0; r < count; ++r) {
    const auto at = [&](std::size_t j) {
      return x.data[j / panel * x.stride + r * panel + j % panel];
    };
    if (out.logits)
      for (std::size_t j = 0; j < outputs; j += panel)
        std::copy_n(x.data + j / panel * x.stride + r * panel, std::min(panel, outputs - j),
                    out.logits + (rows.begin + r) * outputs + j);
    if (out.classes) {
      std::size_t best = 0;
      for (std::size_t j = 1; j < outputs; ++j)
        best = at(j) > at(best) ? j : best;
      out.classes[rows.begin + r] = static_cast<std::int64_t>(best);
    }
  }
  if (out.losses) {
    if (examples.y.labels)
      for (std::size_t i = rows.begin; i < rows.end; ++i) {
        const std::int32_t label = examples.y.labels[examples.row(i)];
        const bool fits = label >= 0 && static_cast<std::size_t>(label) < outputs;
        space.labels[i - rows.begin] = fits ? label : 0;
        bad = fits ? bad : examples.row(i);
      }
    else {
      const std::size_t row = gather_rows(examples.y.values, examples, rows, space.targets.data());
      bad = bad == no_row ? row : bad;
    }
    k.loss({.loss = network.loss,
            .y = x.data,
            .stride = x.stride,
            .rows = {0, count},
            .outputs = outputs,
            .labels = examples.y.labels ? space.labels.data() : nullptr,
            .targets = space.targets.data(),
            .delta = nullptr,
            .losses = out.losses + rows.begin,
            .scores = out.scores + rows.begin,
            .score_scale = examples.score_scale,
            .scratch = space.scratch.data()});
    if (examples.exact)
      judge_exactly(network, examples, rows.begin, x, {0, count}, out.losses + rows.begin,
                    out.scores + rows.begin);
  }
  return bad;
}

} // namespace

template <class T>
PredictResult predict(const Model<T> &model, const ExamplesView &examples, std::size_t rows,
                      const PredictOut<T> &out, std::size_t threads, Interrupt interrupt) {
  if (rows == 0)
    return {};
  const std::size_t height = std::min(rows, block_rows);
  const std::size_t blocks = (rows + height - 1) / height;
  Plan plan;
  if (blocks > 1)
    plan = make_plan(model.network, rows, Walk::predict, std::min(threads, blocks), &examples.x);
  std::vector<PredictSpace<T>> spaces;
  spaces.reserve(plan.threads);
  const bool sparse = examples.x.sparse();
  const std::size_t entries = sparse ? most_entries(examples, {0, rows}, height) : 0;
  for (std::size_t i = 0; i < plan.threads; ++i) {
    spaces.emplace_back(model.network, height, out.losses != nullptr, sparse);
    if (sparse)
      spaces.back().entries.reserve(entries, 1);
  }
  std::atomic<std::size_t> bad{no_row};
  const bool finished = share_out(
      plan.threads, rows, height, interrupt, [&](Range mine, std::size_t thread, const Crew &crew) {
        report_row(bad, predict_block(model, examples, mine, spaces[thread], out, crew));
      });
  return {bad.load(), !finished};
}

#define CULPA_INSTANTIATE(T)                                                                       \
  template PredictResult predict(const Model<T> &, const ExamplesView &, std::size_t,              \
                                 const PredictOut<T> &, std::size_t, Interrupt);
CULPA_INSTANTIATE(float)
CULPA_INSTANTIATE(double)

} // namespace culpa
