// Guess: rows of the batch, layer by layer.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "random.h"
#include "stages/exact.h"
#include "stages/walk.h"

namespace culpa {

using kernels::active;

namespace {
std::atomic<std::size_t> forced_threads{0};
std::atomic<Split> forced_split{Split::rows};
} // namespace

void force_plan(std::size_t threads, Split split) {
  forced_threads.store(threads);
  forced_split.store(split);
}

namespace {

// What sparse inputs change in a plan's costs: the first layer works on entries alone, while the
// optimizer still goes over all weights, most of which no row has touched.
struct Costs {
  double row_flops;   // of one row
  double step_flops;  // of one step, whatever its rows
  double row_values;  // of one row, that other threads read
  double step_values; // of one step: weights whose copies others read
};

Costs costs(const Network &network, const Source *x, double rows, bool trains) {
  const auto parameters = static_cast<double>(network.parameters);
  auto values = static_cast<double>(network.inputs());
  double rest = 0;
  for (const Layer &layer : network.layers)
    rest += 2 * static_cast<double>(layer.outputs);
  const double flops = trains ? network.flops() : 2 * parameters;
  if (!x || !x->sparse())
    return {flops, 0, values + rest, 2 * parameters};
  const auto outputs = static_cast<double>(network.layers.front().outputs);
  const double entries = mean_entries(*x), missing = values - entries;
  constexpr double update_flops = 100; // a weight and its moments come from memory: about 1 ns
  return {flops - (trains ? 4 : 2) * missing * outputs, trains ? update_flops * parameters : 0,
          2 * entries + rest,
          2 * (parameters - values * outputs) + std::min(values, rows * entries) * outputs};
}

} // namespace

std::uint32_t dropout_threshold(double rate) {
  return static_cast<std::uint32_t>(std::min(rate * 0x1p32, 0x1.fffffffep31));
}

Plan make_plan(const Network &network, std::size_t rows, Walk walk, std::size_t most_threads,
               const Source *x) {
  if (const std::size_t threads = forced_threads.load(); threads > 0)
    return {threads, forced_split.load()};
  constexpr double flops_per_second = 8e10; // of one core, roughly
  constexpr std::size_t few_rows = 8;       // below, a thread reads weights more than it computes
  const bool trains = walk == Walk::train;
  const auto n_rows = static_cast<double>(rows);
  const Costs cost_of = costs(network, x, n_rows, trains);
  const double work = cost_of.row_flops * n_rows / flops_per_second;
  const double step_work = cost_of.step_flops / flops_per_second;
  std::size_t widest = 0;
  for (const Layer &layer : network.layers)
    widest = std::max(widest, layer.outputs);
  // Cache lines of 16 floats that change cores in a step: hidden values and error signals for the
  // weight phase, both copies of the weights for the row phase. Measured on a Xeon with AVX-512: 75
  // ns each for the first thousand, which sit in another core's own caches, 10 ns for the rest.
  const double lines = trains ? (n_rows * cost_of.row_values + cost_of.step_values) / 16 : 0;
  Plan best;
  double least = work + step_work;
  // 2, 3, 4, 6, 8, 12, ... threads and the most, until more no longer pay: each count is measured.
  for (std::size_t n = 2, last = 1; last < most_threads && work + step_work > 4e-6;
       last = n, n = std::min(n % 3 == 0 ? n / 3 * 4 : std::max(n / 2 * 3, n + 1), most_threads)) {
    const bool columns = trains && (rows + n - 1) / n < few_rows && widest >= 64 * n;
    const auto parts =
        static_cast<double>(columns ? n : std::min(n, std::max<std::size_t>(rows, 1)));
    const double barriers = columns ? 2.0 * static_cast<double>(network.layers.size()) + 3 : 2;
    const double moved = lines * (parts - 1) / (parts * parts); // by each thread
    const double exchange = 75e-9 * std::min(moved, 1000.0) + 10e-9 * std::max(moved - 1000, 0.0);
    const double cost = work / parts + step_work / static_cast<double>(n) + exchange +
                        2 * barriers * barrier_seconds(n);
    if (cost < 0.9 * least) {
      least = cost;
      best = {n, columns ? Split::columns : Split::rows};
    } else if (cost > 1.5 * least)
      break;
  }
  return best;
}

namespace {

// Whether the columns of every row lie side by side and aligned.
bool plain(const Source &source) {
  const auto size = static_cast<std::ptrdiff_t>(item_size(source.dtype));
  return reinterpret_cast<std::uintptr_t>(source.data) % item_size(source.dtype) == 0 &&
         source.row_stride % size == 0 && (source.columns <= 1 || source.column_stride == size);
}

void copy_row(const Source &source, std::size_t row, std::byte *to) {
  const std::size_t size = item_size(source.dtype);
  const auto *first = static_cast<const std::byte *>(source.data) +
                      static_cast<std::ptrdiff_t>(row) * source.row_stride;
  for (std::size_t j = 0; j < source.columns; ++j)
    std::memcpy(to + j * size, first + static_cast<std::ptrdiff_t>(j) * source.column_stride, size);
}

template <class T>
void drop_values(Matrix<T> values, T *slopes, Range rows, Range some_panels, double rate,
                 const Draw &draw, std::size_t matrix) {
  const auto panel = active<T>().panel;
  const std::uint32_t threshold = dropout_threshold(rate);
  for (std::size_t p = some_panels.begin; p < some_panels.end; ++p)
    active<T>().dropout({.values = values.data + p * values.stride,
                         .slopes = slopes ? slopes + p * values.stride : nullptr,
                         .rows = rows,
                         .first_row = draw.first_row,
                         .first_unit = static_cast<std::uint32_t>(p * panel),
                         .threshold = threshold,
                         .scale = static_cast<T>(1 / (1 - rate)),
                         .key = {static_cast<std::uint32_t>(draw.seed),
                                 static_cast<std::uint32_t>(draw.seed >> 32U)},
                         .stream = {static_cast<std::uint32_t>(draw.step),
                                    stream(Purpose::dropout, matrix, draw.member)}});
}

} // namespace

template <class T>
std::size_t gather(const Source &source, const ExamplesView &examples, Range positions,
                   std::size_t first, T scale, Matrix<T> to, RowBuffer &buffer) {
  const auto &k = active<T>();
  T *row = to.data + (positions.begin - first) * k.panel;
  if (plain(source))
    return k.gather({.type = source.dtype,
                     .source = source.data,
                     .row_stride = source.row_stride,
                     .columns = source.columns,
                     .order = examples.order,
                     .positions = positions,
                     .scale = scale,
                     .to = row,
                     .stride = to.stride});
  std::size_t bad = no_row;
  for (std::size_t i = positions.begin; i < positions.end; ++i, row += k.panel) {
    copy_row(source, examples.row(i), buffer.raw.data());
    if (k.gather({.type = source.dtype,
                  .source = buffer.raw.data(),
                  .row_stride = 0,
                  .columns = source.columns,
                  .order = nullptr,
                  .positions = {0, 1},
                  .scale = scale,
                  .to = row,
                  .stride = to.stride}) != no_row &&
        bad == no_row)
      bad = examples.row(i);
  }
  return bad;
}

template <class T>
std::size_t gather_rows(const Source &source, const ExamplesView &examples, Range positions,
                        T *to) {
  return active<T>().rows({.type = source.dtype,
                           .source = source.data,
                           .row_stride = source.row_stride,
                           .column_stride = source.column_stride,
                           .columns = source.columns,
                           .order = examples.order,
                           .positions = positions,
                           .to = to});
}

template <class T>
void forward_layer(const Parameters<T> &parameters, const Layer &layer, std::size_t index,
                   Matrix<T> x, Matrix<T> h, T *slopes, Range rows, Range some_panels,
                   const Draw *dropout, const SparseBlock<T> *entries) {
  const auto &k = active<T>();
  const auto panel = k.panel;
  const auto &copy = parameters.copies[index];
  const bool fused = layer.activation == Activation::relu && !slopes;
  const kernels::End end = fused ? kernels::End::relu : kernels::End::plain;
  const T *weight = parameters.packed.data() + copy.forward;
  const T *bias = parameters.packed.data() + copy.bias;
  if (entries)
    k.sparse_product({.x = entries->view(),
                      .w = weight,
                      .bias = bias,
                      .y = h.data,
                      .y_stride = h.stride,
                      .inputs = layer.inputs,
                      .outputs = layer.outputs,
                      .end = end},
                     rows, some_panels);
  else
    k.product({.x = x.data,
               .x_stride = x.stride,
               .w = weight,
               .bias = bias,
               .y = h.data,
               .y_stride = h.stride,
               .inputs = layer.inputs,
               .outputs = layer.outputs,
               .end = end},
              rows, some_panels);
  const bool drops = dropout && layer.dropout > 0;
  if ((layer.activation != Activation::identity && !fused) || slopes)
    for (std::size_t p = some_panels.begin; p < some_panels.end; ++p) {
      const std::size_t at = p * h.stride + rows.begin * panel;
      k.activate(layer.activation, static_cast<T>(layer.alpha), h.data + at,
                 slopes ? slopes + at : nullptr, (rows.end - rows.begin) * panel);
    }
  if (drops)
    drop_values(h, slopes, rows, some_panels, layer.dropout, *dropout, index + 1);
}

template <class T>
bool forward(const Network &network, const Parameters<T> &parameters, Workspace<T> &space,
             const Block &block, const Crew &crew, Split split, std::atomic<std::size_t> &bad_row) {
  const auto panel = active<T>().panel;
  const ExamplesView &examples = block.examples;
  const Range mine = crew.share({0, block.rows()});
  const Range positions{block.positions.begin + mine.begin, block.positions.begin + mine.end};

  crew.enter(Phase::gather);
  const auto scale = static_cast<T>(network.input_scale);
  std::size_t bad = space.sparse
                        ? gather_entries(examples, block.positions, scale, space.entries, crew)
                        : gather(examples.x, examples, positions, block.positions.begin, scale,
                                 space.hidden[0], space.row_buffers[crew.index]);
  if (block.dropout && network.input_dropout > 0 && space.sparse)
    drop_entries(space.entries, mine, network.input_dropout, *block.dropout);
  else if (block.dropout && network.input_dropout > 0)
    drop_values<T>(space.hidden[0], nullptr, mine, {0, panels(network.inputs(), panel)},
                   network.input_dropout, *block.dropout, 0);
  if (examples.y.labels)
    for (std::size_t r = mine.begin; r < mine.end; ++r) {
      const std::size_t row = examples.row(block.positions.begin + r);
      const std::int32_t label = examples.y.labels[row];
      const bool fits = label >= 0 && static_cast<std::size_t>(label) < network.outputs();
      space.labels[r] = fits ? label : 0;
      bad = fits ? bad : row;
    }
  else if (const std::size_t row =
               gather_rows(examples.y.values, examples, positions,
                           space.targets.data() + mine.begin * network.outputs());
           bad == no_row)
    bad = row;
  report_row(bad_row, bad);

  crew.enter(Phase::forward);
  for (std::size_t l = 0; l < network.layers.size(); ++l) {
    const Layer &layer = network.layers[l];
    const std::size_t across = panels(layer.outputs, panel);
    const bool by_rows = split == Split::rows;
    if (!by_rows)
      crew.wait();
    by_stretches(crew, by_rows ? mine : Range{0, block.rows()}, [&](Range rows) {
      forward_layer(parameters, layer, l, space.hidden[l], space.hidden[l + 1],
                    space.slopes[l].data, rows,
                    by_rows ? Range{0, across} : crew.share({0, across}), block.dropout,
                    l == 0 && space.sparse ? &space.entries : nullptr);
    });
  }
  if (split == Split::columns)
    crew.wait();
  if (!crew.going())
    return true;

  crew.enter(Phase::loss);
  const Matrix<T> outputs = space.hidden.back();
  active<T>().loss({.loss = network.loss,
                    .y = outputs.data,
                    .stride = outputs.stride,
                    .rows = mine,
                    .outputs = network.outputs(),
                    .labels = examples.y.labels ? space.labels.data() : nullptr,
                    .targets = space.targets.data(),
                    .delta = space.delta.back().data,
                    .losses = space.losses.data(),
                    .scores = space.scores.data(),
                    .score_scale = examples.score_scale,
                    .scratch = space.scratch.data() + crew.index * space.scratch_size});
  bool finite = true;
  for (std::size_t r = mine.begin; r < mine.end; ++r) // without a branch: it runs on all lanes
    finite &= std::abs(space.losses[r]) <= std::numeric_limits<double>::max();
  if (examples.exact)
    judge_exactly(network, examples, block.positions.begin, outputs, mine, space.losses.data(),
                  space.scores.data());
  crew.enter(Phase::rest);
  return finite;
}

template <class T>
void add_up(const ExamplesView &examples, const Workspace<T> &space, Range positions,
            LossSums &sums) {
  const double *losses = space.losses.data(), *scores = space.scores.data();
  if (examples.sample_weights)
    for (std::size_t i = positions.begin; i < positions.end; ++i, ++losses, ++scores) {
      const double weight = examples.sample_weight(i);
      sums.weight += weight;
      sums.loss += weight * *losses;
      sums.score += weight * *scores;
    }
  else {
    const std::size_t count = positions.end - positions.begin;
    double loss = 0, score = 0;
    for (std::size_t i = 0; i < count; ++i) {
      loss += losses[i];
      score += scores[i];
    }
    sums.weight += static_cast<double>(count);
    sums.loss += loss;
    sums.score += score;
  }
}

#define CULPA_INSTANTIATE(T)                                                                       \
  template std::size_t gather(const Source &, const ExamplesView &, Range, std::size_t, T,         \
                              Matrix<T>, RowBuffer &);                                             \
  template std::size_t gather_rows(const Source &, const ExamplesView &, Range, T *);              \
  template void forward_layer(const Parameters<T> &, const Layer &, std::size_t, Matrix<T>,        \
                              Matrix<T>, T *, Range, Range, const Draw *, const SparseBlock<T> *); \
  template bool forward(const Network &, const Parameters<T> &, Workspace<T> &, const Block &,     \
                        const Crew &, Split, std::atomic<std::size_t> &);                          \
  template void add_up(const ExamplesView &, const Workspace<T> &, Range, LossSums &);
CULPA_INSTANTIATE(float)
CULPA_INSTANTIATE(double)

} // namespace culpa
