#include "stages/walk.h"

#include <algorithm>

namespace culpa {

using kernels::active;
using kernels::End;

namespace {

// This thread's part of a stage: its rows, or panels of so many columns of all rows.
template <class T>
Region own_region(const Pass<T> &pass, std::size_t rows, std::size_t columns, bool whole_rows) {
  const Range all_rows{0, rows}, all_panels{0, panels(columns, active<T>().panel)};
  if (pass.split == Split::rows || whole_rows)
    return {pass.crew.share(all_rows), all_panels};
  return {all_rows, pass.crew.share(all_panels)};
}

// relu's slope is where its value is positive.
template <class T> bool fuses_relu(const Pass<T> &pass, std::size_t s, const StageKind<T> &kind) {
  return kind.fuses_relu && pass.stage(s).activation == Activation::relu &&
         !pass.space.slopes[s].data;
}

// Adds dL_i/dx of the stages that add value v to theirs: it is their own error signal.
template <class T>
void add_skipped(const Pass<T> &pass, std::size_t v, Matrix<T> below, const Region &region) {
  const auto &k = active<T>();
  const std::size_t n = (region.rows.end - region.rows.begin) * k.panel;
  for (const std::size_t adding : pass.network.adds[v])
    for (std::size_t p = region.panels.begin; p < region.panels.end; ++p) {
      const Matrix<T> delta = pass.space.delta[adding];
      k.add(below.data + p * below.stride + region.rows.begin * k.panel,
            delta.data + p * delta.stride + region.rows.begin * k.panel, n);
    }
}

} // namespace

template <class T> std::size_t gather_inputs(const Pass<T> &pass, const Block &block) {
  const Network &network = pass.network;
  Workspace<T> &space = pass.space;
  const ExamplesView &examples = block.examples;
  const Range mine = pass.crew.share({0, block.rows()});
  const auto scale = static_cast<T>(network.input_scale);
  const bool drops = block.draw && network.input_dropout > 0;
  if (space.sparse) {
    const std::size_t bad =
        gather_entries(examples, block.positions, scale, space.entries, pass.crew);
    if (drops)
      drop_entries(space.entries, mine, network.input_dropout, *block.draw);
    return bad;
  }
  const Range positions{block.positions.begin + mine.begin, block.positions.begin + mine.end};
  const std::size_t bad = gather(examples.x, examples, positions, block.positions.begin, scale,
                                 space.hidden[0], space.row_buffers[pass.crew.index]);
  if (drops)
    drop_values<T>(space.hidden[0], nullptr, mine, {0, panels(network.inputs(), active<T>().panel)},
                   network.input_dropout, *block.draw, 0);
  return bad;
}

template <class T>
void activate(const Pass<T> &pass, std::size_t s, Matrix<T> h, const Region &region) {
  const auto &k = active<T>();
  const Stage &stage = pass.stage(s);
  T *slopes = pass.space.slopes[s].data;
  if (stage.activation == Activation::identity && !slopes)
    return;
  const std::size_t n = (region.rows.end - region.rows.begin) * k.panel;
  for (std::size_t p = region.panels.begin; p < region.panels.end; ++p) {
    const std::size_t at = p * h.stride + region.rows.begin * k.panel;
    k.activate(stage.activation, static_cast<T>(stage.alpha), h.data + at,
               slopes ? slopes + at : nullptr, n);
  }
}

template <class T>
void forward_stage(const Pass<T> &pass, std::size_t s, const Region &region, const Draw *draw) {
  const Stage &stage = pass.stage(s);
  const StageKind<T> &kind = stage_kind<T>(stage.kind);
  const bool fused = fuses_relu(pass, s, kind);
  const Matrix<T> h = pass.h(s);
  kind.forward(pass, s, h, fused ? End::relu : End::plain, region.rows, region.panels);
  if (!fused)
    activate(pass, s, h, region);
  if (draw && stage.dropout > 0)
    drop_values(h, pass.space.slopes[s].data, region.rows, region.panels, stage.dropout, *draw,
                s + 1);
}

template <class T>
bool forward(const Pass<T> &pass, const Block &block, std::atomic<std::size_t> &bad_row) {
  const Network &network = pass.network;
  Workspace<T> &space = pass.space;
  const Crew &crew = pass.crew;
  const Range mine = crew.share({0, block.rows()});

  crew.enter(Phase::gather);
  std::size_t bad = gather_inputs(pass, block);
  const Range positions{block.positions.begin + mine.begin, block.positions.begin + mine.end};
  const std::size_t bad_target =
      gather_targets(block.examples, positions, network.outputs(), space.labels.data() + mine.begin,
                     space.targets.data() + mine.begin * network.outputs());
  report_row(bad_row, bad == no_row ? bad_target : bad);

  crew.enter(Phase::forward);
  for (std::size_t s = 0; s < network.stages.size(); ++s) {
    const Stage &stage = network.stages[s];
    if (pass.split == Split::columns)
      crew.wait();
    const bool whole_rows = stage_kind<T>(stage.kind).whole_rows || pass.reads_entries(s + 1);
    const Region region = own_region(pass, block.rows(), stage.outputs, whole_rows);
    by_stretches(crew, region.rows,
                 [&](Range rows) { forward_stage(pass, s, {rows, region.panels}, block.draw); });
  }
  if (pass.split == Split::columns)
    crew.wait();
  if (!crew.going())
    return true;

  crew.enter(Phase::loss);
  const Judgement<T> out{space.delta.back(), space.losses.data(), space.scores.data()};
  const bool finite =
      judge(network, block.examples, block.positions.begin, space, crew.index, mine, out);
  crew.enter(Phase::rest);
  return finite;
}

template <class T> void finish_delta(const Pass<T> &pass, std::size_t s, const Region &region) {
  const auto &k = active<T>();
  const Stage &stage = pass.stage(s);
  const Matrix<T> slopes = pass.space.slopes[s], delta = pass.space.delta[s], h = pass.h(s);
  const bool rectified = stage.activation == Activation::relu && !slopes.data;
  if (!slopes.data && !rectified)
    return;
  const std::size_t n = (region.rows.end - region.rows.begin) * k.panel;
  for (std::size_t p = region.panels.begin; p < region.panels.end; ++p) {
    const std::size_t at = p * delta.stride + region.rows.begin * k.panel;
    if (rectified)
      k.mask_positive(delta.data + at, h.data + at, n);
    else
      k.multiply(delta.data + at, slopes.data + at, n);
  }
}

template <class T> void backward(const Pass<T> &pass, std::size_t rows, std::size_t lowest) {
  const Network &network = pass.network;
  const Workspace<T> &space = pass.space;
  const auto multiply = [&](std::size_t s, const Region &region) {
    if (const auto function = stage_kind<T>(pass.stage(s).kind).multiply)
      function(pass, s, region.rows, region.panels);
  };
  const std::size_t last = network.stages.size() - 1;
  const Region outputs{pass.crew.share({0, rows}),
                       {0, panels(network.outputs(), active<T>().panel)}};
  finish_delta(pass, last, outputs);
  multiply(last, outputs);
  const bool to_inputs = space.input_delta.data != nullptr;
  for (std::size_t s = last; s > lowest || to_inputs; --s) {
    const StageKind<T> &kind = stage_kind<T>(pass.stage(s).kind);
    const Matrix<T> below = s > 0 ? space.delta[s - 1] : space.input_delta;
    const bool masked = s > 0 && kind.fuses_relu && network.adds[s].empty() &&
                        pass.stage(s - 1).activation == Activation::relu &&
                        !space.slopes[s - 1].data;
    const bool whole_rows = kind.whole_rows || pass.reads_entries(s);
    const Region region = own_region(pass, rows, pass.stage(s).inputs, whole_rows);
    if (pass.split == Split::columns)
      pass.crew.wait();
    by_stretches(pass.crew, region.rows, [&](Range some) {
      kind.backward(pass, s, below, masked ? space.hidden[s].data : nullptr, some, region.panels);
      const Region part{some, region.panels};
      add_skipped(pass, s, below, part);
      if (s == 0)
        return;
      if (!masked)
        finish_delta(pass, s - 1, part);
      multiply(s - 1, part);
    });
    if (s == 0)
      break;
  }
}

template <class T> void scale_row(Workspace<T> &space, std::size_t row, T factor) {
  const auto panel = active<T>().panel;
  const auto scale = [&](const std::vector<Matrix<T>> &matrices) {
    for (const Matrix<T> &matrix : matrices)
      for (std::size_t p = 0; matrix.data && p < panels(matrix.columns, panel); ++p) {
        T *values = matrix.data + p * matrix.stride + row * panel;
        for (std::size_t i = 0; i < panel; ++i)
          values[i] *= factor;
      }
  };
  scale(space.delta);
  scale(space.products);
  for (auto &scaled : space.entries.scaled)
    for (std::size_t e = space.entries.begins[row]; e < space.entries.ends[row]; ++e)
      scaled.products[e] *= factor;
}

template <class T>
void weigh_examples(const Pass<T> &pass, const Block &block, const BatchWeights &sample_weights) {
  if (!block.examples.sample_weights)
    return;
  const Range mine = pass.crew.share({0, block.rows()});
  for (std::size_t r = mine.begin; r < mine.end; ++r) {
    const double given = block.examples.sample_weight(block.positions.begin + r);
    const auto weight = static_cast<T>(sample_weights.shifted(given));
    if (weight != T(1))
      scale_row(pass.space, r, weight);
  }
}

template <class T> void square_norms(const Network &network, Workspace<T> &space, Range rows) {
  double *total = space.example_squares.data();
  std::fill(total + rows.begin, total + rows.end, 0.0);
  for (std::size_t s = 0; s < network.stages.size(); ++s)
    if (const auto add = stage_kind<T>(network.stages[s].kind).square_norms)
      add(network, space, s, rows, total);
}

#define CULPA_INSTANTIATE(T)                                                                       \
  template std::size_t gather_inputs(const Pass<T> &, const Block &);                              \
  template void forward_stage(const Pass<T> &, std::size_t, const Region &, const Draw *);         \
  template void activate(const Pass<T> &, std::size_t, Matrix<T>, const Region &);                 \
  template bool forward(const Pass<T> &, const Block &, std::atomic<std::size_t> &);               \
  template void backward(const Pass<T> &, std::size_t, std::size_t);                               \
  template void finish_delta(const Pass<T> &, std::size_t, const Region &);                        \
  template void scale_row(Workspace<T> &, std::size_t, T);                                         \
  template void weigh_examples(const Pass<T> &, const Block &, const BatchWeights &);              \
  template void square_norms(const Network &, Workspace<T> &, Range);
CULPA_INSTANTIATE(float)
CULPA_INSTANTIATE(double)

} // namespace culpa
