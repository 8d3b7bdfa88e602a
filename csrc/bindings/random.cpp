// Random numbers that Python asks for: initial weights, shuffles, Poisson samples.
#include "random.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "bindings.h"

namespace culpa {

namespace {

// f(i) for each of n draws, without the GIL, until a signal handler raises.
template <class F> void draw_each(std::size_t n, F f) {
  constexpr std::size_t stretch = std::size_t{1} << 16U;
  const WithoutGil release;
  Signals signals(on_signals);
  for (std::size_t begin = 0; begin < n && !signals(); begin += stretch)
    for (std::size_t i = begin; i < std::min(begin + stretch, n); ++i)
      f(i);
}

// 0 to n - 1, shuffled (Fisher and Yates, from the back).
py::array_t<std::int64_t> shuffled(std::size_t n, const Sequence &numbers) {
  py::array_t<std::int64_t> array(static_cast<py::ssize_t>(n));
  std::int64_t *to = array.mutable_data();
  compute_answer([&] {
    for (std::size_t i = 0; i < n; ++i)
      to[i] = static_cast<std::int64_t>(i);
    Sequence sequence = numbers;
    draw_each(n, [&](std::size_t i) { std::swap(to[n - 1 - i], to[sequence.below(n - i)]); });
  });
  return array;
}

py::typing::Tuple<py::array_t<std::int64_t>, py::array_t<std::int64_t>>
poisson_batches(std::size_t n, double rate, std::uint64_t seed, std::uint64_t first_step,
                std::size_t steps) {
  if (!(rate > 0 && rate <= 1))
    throw py::value_error("rate: expected a probability above 0");
  std::vector<std::int64_t> order, offsets;
  const double log_rest = natural_log_1p(-rate);
  const auto draw_batch = [&](std::size_t step, Poll &poll) {
    Sequence sequence(seed, Purpose::sample, 0, 0, first_step + step);
    // The examples left out before the next that is in: geometric, floor(log(u) / log(1 -
    // q)).
    for (std::size_t i = 0; i < n; ++i) {
      const double skip = rate < 1 ? std::floor(natural_log(1 - sequence.uniform()) / log_rest) : 0;
      if (!(skip < static_cast<double>(n - i)))
        break;
      if (order.size() % 65536 == 0 && !poll.going(true))
        break;
      i += static_cast<std::size_t>(skip);
      order.push_back(static_cast<std::int64_t>(i));
    }
    offsets.push_back(static_cast<std::int64_t>(order.size()));
  };
  compute_answer([&] {
    order.clear();
    offsets.assign(1, 0);
    const WithoutGil release;
    Poll poll(on_signals);
    for (std::size_t step = 0; step < steps && poll.going(true); ++step)
      draw_batch(step, poll);
  });
  return py::make_tuple(give_array(order), give_array(offsets));
}

} // namespace

void bind_random(py::module_ &m) {
  m.def(
      "draw_numbers",
      [](const std::string &kind, std::size_t n, std::uint64_t seed, std::size_t layer,
         std::size_t member) {
        const bool normal = kind == "normal";
        if (!normal && kind != "uniform")
          throw py::value_error(R"(kind: expected "uniform" or "normal")");
        py::array_t<double> array(static_cast<py::ssize_t>(n));
        double *to = array.mutable_data();
        compute_answer([&] {
          Sequence sequence(seed, Purpose::initial_weights, layer, member);
          draw_each(
              n, [&](std::size_t i) { to[i] = normal ? sequence.normal() : sequence.uniform(); });
        });
        return array;
      },
      "kind"_a, "n"_a, "seed"_a, "layer"_a, "member"_a,
      "Random numbers for initial weights: uniform in [0, 1) or standard normal.");
  m.def(
      "permutation",
      [](std::size_t n, std::uint64_t seed, std::size_t member, std::uint64_t epoch) {
        return shuffled(n, Sequence(seed, Purpose::shuffle, 0, member, epoch));
      },
      "n"_a, "seed"_a, "member"_a, "epoch"_a, "The order of an epoch: 0 to n - 1, shuffled.");
  m.def(
      "validation_order",
      [](std::size_t n, std::uint64_t seed) {
        return shuffled(n, Sequence(seed, Purpose::validation, 0, 0));
      },
      "n"_a, "seed"_a, "The order in which a validation split takes rows: 0 to n - 1, shuffled.");
  m.def("poisson_batches", &poisson_batches, "n"_a, "rate"_a, "seed"_a, "first_step"_a, "steps"_a,
        "Batches that each of n rows enters with that probability: (rows, offsets).");
  m.def(
      "philox", [](const Words &counter, std::uint64_t key) { return philox(counter, key); },
      "counter"_a, "key"_a, "Philox4x32-10, for tests.");
}

} // namespace culpa
