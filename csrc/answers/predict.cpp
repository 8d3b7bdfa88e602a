// Guesses without blame: blocks of rows small enough to stay in a core's own cache, handed to the
// threads one after the other; a few buffers take turns as input and output of a stage.
#include "answers/predict.h"

#include <algorithm>
#include <atomic>
#include <vector>

#include "stages/walk.h"
#include "threads/share.h"

namespace culpa {

using kernels::active;

namespace {

constexpr std::size_t block_rows = 126; // nine tiles of 14 rows, twenty-one of 6

// The outputs of a block, or the first greatest of each row.
template <class T> void write_guesses(Matrix<T> outputs, Range rows, const PredictOut<T> &out) {
  const std::size_t panel = active<T>().panel, count = outputs.columns;
  for (std::size_t i = rows.begin; i < rows.end; ++i) {
    const T *row = outputs.data + (i - rows.begin) * panel;
    const auto at = [&](std::size_t j) { return row[j / panel * outputs.stride + j % panel]; };
    if (out.logits)
      for (std::size_t j = 0; j < count; j += panel)
        std::copy_n(row + j / panel * outputs.stride, std::min(panel, count - j),
                    out.logits + i * count + j);
    if (out.classes) {
      std::size_t best = 0;
      for (std::size_t j = 1; j < count; ++j)
        best = at(j) > at(best) ? j : best;
      out.classes[i] = static_cast<std::int64_t>(best);
    }
  }
}

template <class T>
std::size_t predict_block(const Model<T> &model, const ExamplesView &examples, Range positions,
                          Workspace<T> &space, const PredictOut<T> &out, const Crew &crew) {
  const Network &network = model.network;
  const Crew alone{}; // the block is this thread's own
  const Pass<T> pass{network, model.parameters, space, alone};
  const Block block{examples, positions, nullptr};
  std::size_t bad = gather_inputs(pass, block);
  const Range rows{0, block.rows()};
  for (std::size_t s = 0; s < network.stages.size(); ++s) {
    if (!crew.going())
      return no_row;
    forward_stage(pass, s, {rows, {0, panels(network.stages[s].outputs, active<T>().panel)}},
                  nullptr);
  }
  write_guesses(space.hidden.back(), positions, out);
  if (out.losses) {
    const std::size_t row = gather_targets(examples, positions, network.outputs(),
                                           space.labels.data(), space.targets.data());
    bad = bad == no_row ? row : bad;
    judge(network, examples, positions.begin, space, 0, rows,
          {Matrix<T>{}, out.losses + positions.begin, out.scores + positions.begin});
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
  const bool sparse = examples.x.sparse();
  const std::size_t entries = sparse ? most_entries(examples, {0, rows}, height) : 0;
  std::vector<Workspace<T>> spaces;
  spaces.reserve(plan.threads);
  for (std::size_t i = 0; i < plan.threads; ++i) {
    spaces.emplace_back(
        model.network,
        Room{.rows = height, .sparse = sparse, .guesses = true, .judges = out.losses != nullptr});
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
