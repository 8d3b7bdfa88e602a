#include "network/workspace.h"

#include <algorithm>

namespace culpa {

namespace {

// Rows between two panels: one panel's rows, padded so that neighbouring panels never start on the
// same cache sets (the first cache repeats every 4 KB).
std::size_t padded_rows(std::size_t rows, std::size_t row_bytes) {
  const std::size_t period = 4096 / row_bytes; // a power of two
  return (rows + period - 15) / period * period + 15;
}

std::size_t padded(std::size_t columns, std::size_t panel) {
  return panels(columns, panel) * panel;
}

// Values in turn: each takes the first slot that no value still to be read lies in.
struct Turns {
  std::vector<std::size_t> slot; // per value
  std::size_t slots = 0;

  explicit Turns(const Network &network) {
    std::vector<std::size_t> free_from; // per slot: the first value that may overwrite it
    for (std::size_t v = 0; v <= network.stages.size(); ++v) {
      std::size_t last = v; // the last stage that reads it
      if (!network.adds[v].empty())
        last = network.adds[v].front();
      std::size_t s = 0;
      while (s < free_from.size() && free_from[s] > v)
        ++s;
      if (s == free_from.size())
        free_from.push_back(0);
      free_from[s] = last + 2;
      slot.push_back(s);
    }
    slots = free_from.size();
  }
};

} // namespace

bool keeps_slopes(const Stage &stage) {
  return stage.dropout > 0 ||
         (stage.activation != Activation::identity && stage.activation != Activation::relu);
}

std::size_t rows_per_block(const Network &network, std::size_t item_size, bool sparse) {
  const std::size_t width = (sparse ? 0 : network.inputs()) + 2 * network.values();
  const std::size_t rows = (std::size_t{32} << 20U) / (width * item_size);
  return std::clamp<std::size_t>(rows / 256 * 256, 256, 4096);
}

template <class T>
Workspace<T>::Workspace(const Network &network, const Room &room)
    : rows(room.rows), threads(room.threads), sparse(room.sparse) {
  const auto panel = kernels::active<T>().panel;
  if (sparse)
    entries = SparseBlock<T>(rows, room.guesses ? 0 : network.inputs(), network.sparse_values - 1);
  stride_rows_ = room.guesses ? rows + (rows > 1 ? 1 : 0) : padded_rows(rows, panel * sizeof(T));
  if (room.guesses)
    place_guesses(network);
  else
    for (const bool measured : {false, true}) {
      if (measured)
        storage_ = Buffer<T>(used_);
      place_values(network, room);
    }
  place_inverses(network);
  for (std::size_t i = 0; i < threads; ++i)
    row_buffers.emplace_back(sparse ? 0 : network.inputs());
  if (room.judges)
    make_room_to_judge(network);
  if (!room.guesses)
    make_room_to_train(network, room.flat_gradient);
}

template <class T> void Workspace<T>::place_values(const Network &network, const Room &room) {
  used_ = 0;
  hidden.clear();
  slopes.clear();
  delta.clear();
  normalized.clear();
  products.clear();
  const auto is_sparse = [&](std::size_t v) { return sparse && network.keeps_sparse(v); };
  hidden.push_back(is_sparse(0) ? Matrix<T>{} : matrix(network.inputs()));
  for (std::size_t s = 0; s < network.stages.size(); ++s) {
    const Stage &stage = network.stages[s];
    const bool entries_only = is_sparse(s + 1);
    const auto wanted = [&](bool wants) { return wants ? matrix(stage.outputs) : Matrix<T>{}; };
    hidden.push_back(wanted(!entries_only));
    delta.push_back(wanted(!entries_only || room.inputs));
    slopes.push_back(wanted(room.all_slopes || keeps_slopes(stage)));
    normalized.push_back(wanted(stage.kind == Kind::layer_norm));
    products.push_back(
        wanted(stage.kind == Kind::layer_norm || (stage.kind == Kind::scale && !entries_only)));
  }
  input_delta = room.inputs ? matrix(network.inputs()) : Matrix<T>{};
}

template <class T> void Workspace<T>::place_guesses(const Network &network) {
  const Turns turns(network);
  std::size_t widest = 0;
  for (std::size_t v = 0; v <= network.stages.size(); ++v)
    if (!sparse || !network.keeps_sparse(v))
      widest = std::max(widest, network.width(v));
  const auto panel = kernels::active<T>().panel;
  const std::size_t size = padded(widest, panel) * stride_rows_;
  storage_ = Buffer<T>(turns.slots * size);
  slopes.resize(network.stages.size());
  hidden.reserve(network.stages.size() + 1);
  for (std::size_t v = 0; v <= network.stages.size(); ++v)
    hidden.push_back(
        {storage_.data() + turns.slot[v] * size, stride_rows_ * panel, network.width(v)});
  normalized.assign(hidden.begin() + 1, hidden.end()); // in place
}

template <class T> void Workspace<T>::place_inverses(const Network &network) {
  const auto of = [&](const Stage &stage) { return stage.kind == Kind::layer_norm ? rows : 0; };
  std::size_t size = 0;
  for (const Stage &stage : network.stages)
    size += of(stage);
  inverse_storage_ = Buffer<T>(size);
  inverses.reserve(network.stages.size());
  T *next = inverse_storage_.data();
  for (const Stage &stage : network.stages) {
    inverses.push_back(next);
    next += of(stage);
  }
}

template <class T> void Workspace<T>::make_room_to_judge(const Network &network) {
  const auto panel = kernels::active<T>().panel;
  labels = Buffer<std::int32_t>(rows);
  targets = Buffer<T>(rows * network.outputs());
  scratch_size = padded(network.outputs(), panel) * panel;
  scratch = Buffer<T>(threads * scratch_size);
}

template <class T>
void Workspace<T>::make_room_to_train(const Network &network, bool flat_gradient) {
  const auto panel = kernels::active<T>().panel;
  losses = Buffer<double>(rows);
  scores = Buffer<double>(rows);
  example_squares = Buffer<double>(rows);
  stage_squares = Buffer<double>(2 * rows);
  gradient = Buffer<T>(flat_gradient ? network.parameters : 0);
  for (const Unit &unit : network.units) {
    const Place place = network.place_in_piece(unit);
    piece_size = std::max(piece_size, place.rows * padded(place.width, panel));
  }
  pieces = Buffer<T>(threads * piece_size);
  squares = Buffer<double>(network.units.size());
  norms = Buffer<double>(network.units.size());
}

// Carves one out of the storage; before there is any it has no data, and its size is counted.
template <class T> Matrix<T> Workspace<T>::matrix(std::size_t columns) {
  const auto panel = kernels::active<T>().panel;
  T *data = storage_.size() ? storage_.data() + used_ : nullptr;
  used_ += padded(columns, panel) * stride_rows_;
  return {data, stride_rows_ * panel, columns};
}

template struct Workspace<float>;
template struct Workspace<double>;

} // namespace culpa
