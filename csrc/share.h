// Blocks of work handed to threads one after the other, until none is left or somebody says stop.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>

#include "team.h"
#include "trainer.h"

namespace culpa {

// Whether somebody wants to stop. Asks 50 ms after the last time, not sooner: it may take the GIL.
class Signals {
public:
  explicit Signals(Interrupt interrupt) : interrupt_(interrupt) {}

  bool operator()() {
    const auto now = std::chrono::steady_clock::now();
    if (!interrupt_.requested || now - asked_ < std::chrono::milliseconds(50))
      return false;
    asked_ = now;
    return interrupt_.requested(interrupt_.context);
  }

private:
  Interrupt interrupt_;
  std::chrono::steady_clock::time_point asked_ = std::chrono::steady_clock::now();
};

// Whether to go on, among several threads: that of the caller asks.
class Poll {
public:
  Poll(bool asks, Interrupt interrupt, std::atomic<bool> &stop)
      : asks_(asks), signals_(interrupt), stop_(stop) {}

  bool operator()() {
    if (asks_ && signals_())
      stop_.store(true);
    return !stop_.load();
  }

private:
  bool asks_;
  Signals signals_;
  std::atomic<bool> &stop_;
};

// each(rows, thread, poll) for every block of `height` rows, in any order; long ones may poll, too.
// Gives false where it was stopped.
template <class Each>
bool share_out(std::size_t threads, std::size_t rows, std::size_t height, Interrupt interrupt,
               Each each) {
  const std::size_t blocks = (rows + height - 1) / height;
  std::atomic<std::size_t> next{0};
  std::atomic<bool> stop{false};
  run(threads, [&](const Crew &crew) {
    Poll poll(crew.index == 0, interrupt, stop);
    for (std::size_t i = 0; (i = next.fetch_add(1)) < blocks && poll();)
      each(Range{i * height, std::min((i + 1) * height, rows)}, crew.index, poll);
  });
  return !stop.load();
}

} // namespace culpa
