// The job of an attribution: blocks of rows handed to the threads one after the other, each walked
// by its method.
#include "answers/attribution/attribute.h"

#include <algorithm>

#include "answers/attribution/attribution.h"
#include "answers/predict.h"
#include "threads/share.h"

namespace culpa {

using kernels::active;

namespace {

// Rows that one thread carries at a time: rows of x times steps of their paths. Wide networks take
// fewer, so that memory stays bounded.
std::size_t rows_at_once(const Network &network, std::size_t item_size) {
  const std::size_t width = 3 * (network.inputs() + network.values());
  return std::clamp<std::size_t>((std::size_t{8} << 20U) / (width * item_size), 16, 128);
}

// Baselines or draws that a row's answer is the mean over.
std::size_t baselines_per_row(const AttributeJob &job) {
  return job.method == Method::expected ? job.samples
         : job.background.data          ? job.background.rows
                                        : 1;
}

// Points that lie on each path, or around x.
std::size_t points_per_path(const AttributeJob &job) {
  return job.method == Method::path     ? std::max<std::size_t>(job.steps, 1)
         : job.method == Method::smooth ? job.samples
                                        : 1;
}

// Two blocks or more for each thread, and the points of a path side by side where rows are few,
// then the baselines.
Portion make_portion(const AttributeJob &job, std::size_t most, std::size_t threads) {
  const std::size_t least = (job.x.rows + 2 * threads - 1) / (2 * threads);
  // Samples of a row side by side draw their noise at a stretch.
  const std::size_t tallest = job.method == Method::smooth ? std::min<std::size_t>(most, 16) : most;
  Portion portion;
  portion.height = std::clamp<std::size_t>(least, 1, tallest);
  portion.together = std::min(points_per_path(job), most / portion.height);
  portion.tile = std::clamp<std::size_t>(most / (portion.height * portion.together), 1,
                                         std::max<std::size_t>(baselines_per_row(job), 1));
  return portion;
}

// Some baselines of a block into the space: its rows' own, or [first, first + tile) of the set or
// of the draws.
template <class T>
Baselines<T> take_baselines(const Network &network, const AttributeJob &job,
                            AttributeSpace<T> &space, Range rows, std::size_t first,
                            std::size_t tile, std::size_t &bad) {
  const std::size_t count = rows.end - rows.begin;
  const auto scale = static_cast<T>(network.input_scale);
  RowBuffer &buffer = space.path.row_buffers[0];
  Baselines<T> taken{space.baselines, 1};
  if (job.method == Method::expected) {
    draw_pairs(job, space, tile, count);
    taken.count = tile * count;
    taken.stride_t = count;
    taken.stride_r = 1;
    const ExamplesView drawn{.x = job.background, .y = {}, .order = space.drawn.data()};
    bad = gather(job.background, drawn, {0, taken.count}, 0, scale, taken.matrix, buffer);
    return taken;
  }
  const bool set = job.background.data != nullptr;
  const Source &source = set ? job.background : job.baseline;
  Range wanted{first, first + tile};
  if (set)
    taken.stride_t = 1;
  else if (source.row_stride != 0) {
    wanted = rows;
    taken.stride_r = 1;
  }
  taken.count = wanted.end - wanted.begin;
  bad = gather(source, ExamplesView{.x = source, .y = {}}, wanted, wanted.begin, scale,
               taken.matrix, buffer);
  return taken;
}

// A block of rows, each against one baseline or the mean over several.
template <class T>
std::size_t walk_baselines(const Model<T> &model, const AttributeJob &job, Range rows,
                           const Portion &portion, AttributeSpace<T> &space,
                           const AttributeOut<T> &out, const Crew &crew) {
  const std::size_t count = rows.end - rows.begin, total = baselines_per_row(job);
  const bool set = job.background.data != nullptr;
  const std::int64_t *targets = out.targets + rows.begin;
  std::fill_n(space.values.data(), space.values.size(), 0.0);
  std::fill_n(space.nodes.data(), space.nodes.size(), 0.0);
  if (job.method == Method::expected)
    start_draws(job, space, rows);
  for (std::size_t first = 0; first < total && crew.going(); first += portion.tile) {
    const std::size_t tile = std::min(portion.tile, total - first);
    std::size_t bad = no_row;
    const Baselines<T> baselines =
        take_baselines(model.network, job, space, rows, first, tile, bad);
    if (bad != no_row)
      return bad;
    Matrix<T> signals = space.signals();
    if (job.method == Method::deeplift) {
      forward_with_z(model, *space.end, {space.height, space.height + baselines.count});
      if (!set)
        note_baseline(from_row(space.end->hidden.back(), space.height), baselines, rows, out);
      rescale_slopes(model.network, space, baselines, tile, count);
      backward_rest(model, space, tile * count, targets, count);
    } else {
      walk_to_entry(model, space, baselines.matrix, space.entries(), baselines.count);
      lay_paths(space, baselines, space.entries(), tile, count);
      if (!set) {
        forward_rest(model, space, baselines.count);
        note_baseline(space.path.hidden.back(), baselines, rows, out);
      }
      constexpr double whole = 1;
      const Points points = job.method == Method::expected
                                ? Points{space.points.data(), &whole, 1, true}
                                : Points{job.points, job.weights, job.steps, false};
      walk_paths(model, points, space, tile, count, targets, crew);
      signals = space.sum;
    }
    back_to_inputs(model, space, signals, tile * count);
    if (set)
      add_values(space, baselines, tile, count);
    else
      write_values(model.network, job, space, baselines, rows, out);
  }
  if (set)
    write_mean_values(space, total, rows, out);
  write_nodes(model.network, space, total, rows, out);
  return no_row;
}

template <class T>
AttributeResult attribute_block(const Model<T> &model, const AttributeJob &job, Range rows,
                                const Portion &portion, AttributeSpace<T> &space,
                                const AttributeOut<T> &out, const Crew &crew) {
  const std::size_t count = rows.end - rows.begin;
  Workspace<T> &path = space.path;
  AttributeResult bad;
  bad.x_row = gather(job.x, ExamplesView{.x = job.x, .y = {}}, rows, rows.begin,
                     static_cast<T>(model.network.input_scale), space.x, path.row_buffers[0]);
  if (bad.x_row != no_row)
    return bad;
  Matrix<T> outputs = path.hidden.back();
  if (job.method == Method::deeplift) {
    forward_with_z(model, *space.end, {0, count});
    outputs = space.end->hidden.back();
  } else if (job.method == Method::lrp)
    forward_with_z(model, path, {0, count});
  else {
    walk_to_entry(model, space, space.x, space.entries(), count);
    if (space.top.data)
      copy_rows(space.entries(), space.top, {0, count},
                {0, panels(space.top.columns, active<T>().panel)});
    forward_rest(model, space, count);
  }
  choose_targets(job, outputs, rows, out);
  if (job.baseline.data || job.background.data) {
    bad.baseline_row = walk_baselines(model, job, rows, portion, space, out, crew);
    return bad;
  }
  const std::int64_t *targets = out.targets + rows.begin;
  Matrix<T> signals = space.signals();
  if (job.method == Method::smooth) {
    walk_around(model, job, space, rows, targets, crew);
    signals = space.sum;
  } else {
    if (job.method == Method::lrp)
      relevance_slopes(model.network, path, count, job.epsilon);
    backward_rest(model, space, count, targets, count);
  }
  back_to_inputs(model, space, signals, count);
  write_values(model.network, job, space, Baselines<T>{space.baselines, 1}, rows, out);
  return bad;
}

// The mean of every output over the background, (outputs), in the order of its rows; empty where a
// signal came.
template <class T>
std::vector<double> mean_outputs(const Model<T> &model, const Source &background,
                                 std::size_t threads, Interrupt interrupt, std::size_t &bad) {
  const std::size_t outputs = model.network.outputs();
  const std::size_t height = std::clamp<std::size_t>(
      (std::size_t{8} << 20U) / (outputs * sizeof(T)), 16, 8192); // rows at a time
  Buffer<T> logits(std::min(height, background.rows) * outputs);
  std::vector<double> sums(outputs);
  PredictOut<T> out;
  out.logits = logits.data();
  bool stop = false;
  for (std::size_t begin = 0; begin < background.rows; begin += height) {
    Source some = background;
    some.rows = std::min(height, background.rows - begin);
    some.data = static_cast<const std::byte *>(background.data) +
                static_cast<std::ptrdiff_t>(begin) * background.row_stride;
    const PredictResult done =
        predict(model, ExamplesView{.x = some, .y = {}}, some.rows, out, threads, interrupt);
    stop = done.stopped;
    if (stop)
      break;
    if (done.row != no_row) {
      bad = begin + done.row;
      break;
    }
    for (std::size_t i = 0; i < some.rows * outputs; ++i)
      sums[i % outputs] += static_cast<double>(logits[i]);
  }
  for (double &sum : sums)
    sum /= static_cast<double>(background.rows);
  if (stop)
    sums.clear();
  return sums;
}

} // namespace

template <class T>
AttributeResult attribute(const Model<T> &model, const AttributeJob &job,
                          const AttributeOut<T> &out, std::size_t threads, Interrupt interrupt) {
  const Network &network = model.network;
  const std::size_t rows = job.x.rows;
  if (rows == 0)
    return {};
  std::vector<double> means;
  if (job.background.data) {
    AttributeResult bad;
    means = mean_outputs(model, job.background, threads, interrupt, bad.baseline_row);
    if (means.empty() || bad.baseline_row != no_row)
      return bad;
  }
  const Portion portion = make_portion(job, rows_at_once(network, sizeof(T)), threads);
  const std::size_t blocks = (rows + portion.height - 1) / portion.height;
  const std::size_t walks = points_per_path(job) * baselines_per_row(job);
  Plan plan;
  if (blocks > 1) // a point costs about three guesses: forward, back, and what lies between
    plan = make_plan(network, rows * 3 * walks, Walk::predict, std::min(threads, blocks));

  const Buffer<T> lowest_weight = lowest_transposed(model);
  std::vector<AttributeSpace<T>> spaces;
  spaces.reserve(plan.threads);
  for (std::size_t i = 0; i < plan.threads; ++i)
    spaces.emplace_back(network, job, portion, !out.nodes.empty(), lowest_weight.data());

  std::atomic<std::size_t> bad_x{no_row}, bad_baseline{no_row};
  const bool finished = share_out(plan.threads, rows, portion.height, interrupt,
                                  [&](Range mine, std::size_t thread, const Crew &crew) {
                                    const AttributeResult bad = attribute_block(
                                        model, job, mine, portion, spaces[thread], out, crew);
                                    report_row(bad_x, bad.x_row);
                                    report_row(bad_baseline, bad.baseline_row);
                                  });
  const AttributeResult bad{bad_x.load(), bad_baseline.load()};
  const bool all = finished && bad.x_row == no_row && bad.baseline_row == no_row;
  for (std::size_t i = 0; i < rows && all && !means.empty(); ++i) // else some have no target yet
    out.baseline_outputs[i] = static_cast<T>(means[static_cast<std::size_t>(out.targets[i])]);
  return bad;
}

#define CULPA_INSTANTIATE(T)                                                                       \
  template AttributeResult attribute(const Model<T> &, const AttributeJob &,                       \
                                     const AttributeOut<T> &, std::size_t, Interrupt);
CULPA_INSTANTIATE(float)
CULPA_INSTANTIATE(double)

} // namespace culpa
