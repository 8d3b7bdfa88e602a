#include "answers/attribution/attribution.h"

#include <algorithm>
#include <utility>

namespace culpa {

using kernels::active;

namespace {

// Stages up to the entry: factors and then one product keep it affine, as long as no stage farther
// on adds what lies before.
std::size_t find_entry(const Network &network) {
  for (std::size_t s = 0; s < network.stages.size(); ++s) {
    const Stage &stage = network.stages[s];
    const bool dense = stage.kind == Kind::dense;
    if (!network.adds[s].empty() || !(dense || stage.kind == Kind::scale))
      return s;
    if (dense || stage.activation != Activation::identity)
      return s + 1;
  }
  return network.stages.size();
}

Room room_of(const Network &network, const AttributeJob &job, const Portion &portion, bool nodes) {
  return {.rows = portion.rows(),
          .all_slopes = nodes || job.method == Method::deeplift || job.method == Method::lrp,
          .inputs = find_entry(network) == 0};
}

// A matrix that a method works in, and its shape.
template <class T> struct Wanted {
  Matrix<T> *matrix;
  std::size_t columns, rows;
};

// Gives the storage of all of them, which lie in it one after the other.
template <class T> Buffer<T> deal_out(const std::vector<Wanted<T>> &wanted) {
  const auto panel = active<T>().panel;
  const auto stride = [&](std::size_t rows) { return (rows + (rows > 1 ? 1 : 0)) * panel; };
  std::size_t size = 0;
  for (const Wanted<T> &one : wanted)
    size += panels(one.columns, panel) * stride(one.rows);
  Buffer<T> storage(size);
  T *next = storage.data();
  for (const Wanted<T> &one : wanted) {
    *one.matrix = {next, stride(one.rows), one.columns};
    next += panels(one.columns, panel) * stride(one.rows);
  }
  return storage;
}

} // namespace

template <class T>
AttributeSpace<T>::AttributeSpace(const Network &network, const AttributeJob &job,
                                  const Portion &portion, bool wants_nodes, const T *transposed)
    : lowest_weight(transposed), entry(find_entry(network)),
      path(network, room_of(network, job, portion, wants_nodes)), height(portion.height) {
  const std::size_t pairs = portion.pairs();
  const bool set = job.background.data != nullptr;
  const bool walks = job.method == Method::path || job.method == Method::expected;
  const bool smooth = job.method == Method::smooth;
  const bool own_baseline = job.baseline.data && job.baseline.row_stride != 0;
  const std::size_t based = job.method == Method::expected ? pairs
                            : set                          ? portion.tile
                            : own_baseline                 ? height
                                                           : 1;
  if (job.method == Method::deeplift)
    end = std::make_unique<Workspace<T>>(network, Room{.rows = height + based, .all_slopes = true});
  if (wants_nodes)
    tangent = std::make_unique<Workspace<T>>(
        network, Room{.rows = portion.rows(), .guesses = true, .judges = false});

  const std::size_t inputs = network.inputs(), width = network.width(entry);
  std::size_t units = 0; // of the hidden dense layers
  for (std::size_t l = 0; wants_nodes && l + 1 < network.dense.size(); ++l)
    units += network.stages[network.dense[l]].outputs;
  std::vector<Wanted<T>> wanted = {{&gradient, inputs, pairs}};
  if (walks || smooth)
    wanted.push_back({&sum, width, pairs});
  if (walks)
    wanted.insert(wanted.end(),
                  {{&top, width, height}, {&start, width, pairs}, {&way, width, pairs}});
  if (smooth || (walks && entry == 0)) // points take the place of the inputs
    wanted.push_back({&x, inputs, height});
  else
    x = end ? end->hidden[0] : path.hidden[0];
  if (end)
    baselines = from_row(x, height);
  else
    wanted.push_back({&baselines, inputs, based});
  storage = deal_out(wanted);

  nodes = Buffer<double>(height * units);
  if (set)
    values = Buffer<double>(height * inputs);
  if (job.method == Method::expected) {
    streams.reserve(height);
    drawn = Buffer<std::int64_t>(pairs);
    points = Buffer<double>(pairs);
  }
  if (smooth) {
    noise = Buffer<T>(portion.together * inputs);
    deviation = Buffer<T>(inputs);
    for (std::size_t j = 0; j < inputs; ++j)
      deviation[j] = static_cast<T>(job.noise[j] * network.input_scale);
  }
}

namespace {

// One thread's own block; no attribution drops anything.
const Crew alone{};

template <class T>
Pass<T> pass_of(const Model<T> &model, Workspace<T> &space, const T *lowest_weight = nullptr) {
  return {model.network, model.parameters, space, alone, Split::rows, lowest_weight};
}

template <class T> Range all_panels(Matrix<T> matrix) {
  return {0, panels(matrix.columns, active<T>().panel)};
}

} // namespace

template <class T>
void walk_to_entry(const Model<T> &model, AttributeSpace<T> &space, Matrix<T> x, Matrix<T> to,
                   std::size_t rows) {
  if (space.entry == 0)
    return copy_rows(x, to, {0, rows}, all_panels(to));
  std::vector<Matrix<T>> &hidden = space.path.hidden; // stages read and write there
  const Matrix<T> own_x = std::exchange(hidden[0], x);
  const Matrix<T> own_entry = std::exchange(hidden[space.entry], to);
  for (std::size_t s = 0; s < space.entry; ++s)
    stage_kind<T>(model.network.stages[s].kind)
        .forward(pass_of(model, space.path), s, hidden[s + 1], kernels::End::plain, {0, rows},
                 all_panels(hidden[s + 1]));
  hidden[0] = own_x;
  hidden[space.entry] = own_entry;
}

template <class T>
void forward_rest(const Model<T> &model, AttributeSpace<T> &space, std::size_t rows) {
  const Pass<T> pass = pass_of(model, space.path);
  const Matrix<T> entries = space.entries();
  if (space.entry > 0)
    activate(pass, space.entry - 1, entries, {{0, rows}, all_panels(entries)});
  for (std::size_t s = space.entry; s < model.network.stages.size(); ++s)
    forward_stage(pass, s, {{0, rows}, all_panels(space.path.hidden[s + 1])}, nullptr);
}

template <class T> void forward_with_z(const Model<T> &model, Workspace<T> &space, Range rows) {
  const Pass<T> pass = pass_of(model, space);
  for (std::size_t s = 0; s < model.network.stages.size(); ++s) {
    const Matrix<T> h = space.hidden[s + 1], z = space.delta[s];
    stage_kind<T>(model.network.stages[s].kind)
        .forward(pass, s, z, kernels::End::plain, rows, all_panels(z));
    copy_rows(z, h, rows, all_panels(z));
    activate(pass, s, h, {rows, all_panels(h)});
  }
}

template <class T>
void backward_rest(const Model<T> &model, AttributeSpace<T> &space, std::size_t rows,
                   const std::int64_t *targets, std::size_t count) {
  const auto panel = active<T>().panel;
  const Matrix<T> delta = space.path.delta.back();
  for (std::size_t p = 0; p < panels(delta.columns, panel); ++p)
    std::fill_n(delta.data + p * delta.stride, rows * panel, T(0));
  for (std::size_t r = 0; r < rows; ++r) {
    const auto j = static_cast<std::size_t>(targets[r % count]);
    delta.data[j / panel * delta.stride + r * panel + j % panel] = T(1);
  }
  backward(pass_of(model, space.path, space.lowest_weight), rows,
           space.entry ? space.entry - 1 : 0);
}

template <class T>
void back_to_inputs(const Model<T> &model, AttributeSpace<T> &space, Matrix<T> signals,
                    std::size_t rows) {
  if (space.entry == 0)
    return copy_rows(signals, space.gradient, {0, rows}, all_panels(signals));
  std::vector<Matrix<T>> &delta = space.path.delta;
  const Pass<T> pass = pass_of(model, space.path, space.lowest_weight);
  const Matrix<T> own = std::exchange(delta[space.entry - 1], signals);
  for (std::size_t s = space.entry; s-- > 0;) {
    const Matrix<T> below = s > 0 ? delta[s - 1] : space.gradient;
    stage_kind<T>(model.network.stages[s].kind)
        .backward(pass, s, below, nullptr, {0, rows}, all_panels(below));
  }
  delta[space.entry - 1] = own;
}

#define CULPA_INSTANTIATE(T)                                                                       \
  template struct AttributeSpace<T>;                                                               \
  template void walk_to_entry(const Model<T> &, AttributeSpace<T> &, Matrix<T>, Matrix<T>,         \
                              std::size_t);                                                        \
  template void forward_rest(const Model<T> &, AttributeSpace<T> &, std::size_t);                  \
  template void forward_with_z(const Model<T> &, Workspace<T> &, Range);                           \
  template void backward_rest(const Model<T> &, AttributeSpace<T> &, std::size_t,                  \
                              const std::int64_t *, std::size_t);                                  \
  template void back_to_inputs(const Model<T> &, AttributeSpace<T> &, Matrix<T>, std::size_t);
CULPA_INSTANTIATE(float)
CULPA_INSTANTIATE(double)

} // namespace culpa
