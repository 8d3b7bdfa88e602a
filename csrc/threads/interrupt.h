// Whether a long call goes on: the interpreter's signal handlers, asked now and then.
#pragma once

#include <atomic>
#include <chrono>

namespace culpa {

// Asks whether to stop, on the thread that made the call. Signal handlers run meanwhile, and they
// may read the models of the call: it is asked only where no weight is being changed.
struct Interrupt {
  bool (*requested)(void *) = nullptr;
  void *context = nullptr;
};

// Asks 50 ms after the last time, not sooner: it may take the GIL.
class Signals {
public:
  explicit Signals(Interrupt interrupt) : interrupt_(interrupt) {}

  bool operator()() {
    if (!interrupt_.requested)
      return false;
    const auto now = std::chrono::steady_clock::now();
    if (now - asked_ < std::chrono::milliseconds(50))
      return false;
    const bool stop = interrupt_.requested(interrupt_.context);
    asked_ = std::chrono::steady_clock::now(); // a handler may take its time
    return stop;
  }

private:
  Interrupt interrupt_;
  std::chrono::steady_clock::time_point asked_ = std::chrono::steady_clock::now();
};

// The same among the threads of a call: the one that made it asks, all listen.
class Poll {
public:
  explicit Poll(Interrupt interrupt) : signals_(interrupt) {}

  // Whether to go on. Threads get to know of a stop at different moments.
  bool going(bool polls_signals) {
    if (polls_signals && !stopped() && signals_())
      stop_.store(true, std::memory_order_relaxed);
    return !stopped();
  }
  bool stopped() const { return stop_.load(std::memory_order_relaxed); }

private:
  Signals signals_;
  std::atomic<bool> stop_{false};
};

} // namespace culpa
