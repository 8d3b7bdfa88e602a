// The threads: one team a process, started at first use, that works on one call at a time. A call
// that finds the team busy runs on its caller's thread alone, with the same bits. No OpenMP: its
// runtimes clash in one process, and hang after a fork.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "threads/interrupt.h"
#include "view.h"

namespace culpa {

// Forks that this process has come out of. A signal handler may fork in the middle of a call, and
// return from it in the child: there the call has lost its other threads. Nothing waits for them,
// and the call is made again, or goes on from its last finished step.
std::uint32_t fork_count();

// Held for moments, to make locks anew after a fork.
class ForkLatch {
public:
  ForkLatch();
  ~ForkLatch();
  ForkLatch(const ForkLatch &) = delete;
  ForkLatch &operator=(const ForkLatch &) = delete;
};

// Threads wait for each other: spinning for some microseconds, then asleep.
class Barrier {
public:
  explicit Barrier(std::size_t threads) : threads_(static_cast<std::uint32_t>(threads)) {}
  void wait();

private:
  std::uint32_t forks_ = fork_count();
  alignas(64) std::atomic<std::uint32_t> arrived_{0};
  alignas(64) std::atomic<std::uint32_t> generation_{0};
  std::uint32_t threads_;
};

// Where the time of a step goes. `rest`: what is in none of the others.
enum class Phase : int { rest, gather, forward, loss, backward, gradient, optimizer, barrier };
constexpr Name<Phase> phase_names[] = {
    {Phase::rest, "rest"},           {Phase::gather, "gather"},     {Phase::forward, "forward"},
    {Phase::loss, "loss"},           {Phase::backward, "backward"}, {Phase::gradient, "gradient"},
    {Phase::optimizer, "optimizer"}, {Phase::barrier, "barrier"},
};
constexpr std::size_t phase_count = sizeof phase_names / sizeof *phase_names;
static_assert(phase_count == static_cast<std::size_t>(Phase::barrier) + 1);

// Charges the time of one thread to the phase that it is in.
class PhaseClock {
public:
  explicit PhaseClock(double *seconds) : seconds_(seconds) {}
  ~PhaseClock() { enter(Phase::rest); }
  PhaseClock(const PhaseClock &) = delete;
  PhaseClock &operator=(const PhaseClock &) = delete;
  Phase enter(Phase phase) {
    const auto now = Clock::now();
    seconds_[static_cast<std::size_t>(phase_)] +=
        std::chrono::duration<double>(now - since_).count();
    since_ = now;
    return std::exchange(phase_, phase);
  }

private:
  using Clock = std::chrono::steady_clock;
  double *seconds_; // one per phase, added to
  Phase phase_ = Phase::rest;
  Clock::time_point since_ = Clock::now();
};

// One thread's place among those that share a call; the caller is number 0.
struct Crew {
  std::size_t index = 0, size = 1;
  Barrier *barrier = nullptr;
  PhaseClock *clock = nullptr; // nullptr: nobody wants to know
  Poll *poll = nullptr;        // nullptr: the call is short
  bool polls_signals = false;

  void wait() const {
    if (!barrier)
      return;
    const Phase before = clock ? clock->enter(Phase::barrier) : Phase::rest;
    barrier->wait();
    enter(before);
  }
  void enter(Phase phase) const {
    if (clock)
      clock->enter(phase);
  }
  // Whether to go on. Only where no weight is being changed, for signal handlers may run.
  bool going() const { return !poll || poll->going(polls_signals); }
  // This thread by itself, with blocks of its own.
  Crew alone(Poll &own) const { return {.poll = &own, .polls_signals = index == 0}; }
  // This thread's part of a range.
  Range share(Range all) const {
    const std::size_t count = all.end - all.begin;
    return {all.begin + count * index / size, all.begin + count * (index + 1) / size};
  }
};

// Once, when the library is loaded.
void watch_forks();

// Inside of run(), the float mode that its caller had, denormals and all: for Python's code.
class CallersFloatMode {
public:
  CallersFloatMode();
  ~CallersFloatMode();
  CallersFloatMode(const CallersFloatMode &) = delete;
  CallersFloatMode &operator=(const CallersFloatMode &) = delete;

private:
  std::uint64_t saved_ = 0;
};

std::size_t num_threads();
void set_num_threads(std::size_t count);
// For calls from the calling thread alone, so that calls side by side may differ; 0: as all others.
// Gives what was set before.
std::size_t set_own_threads(std::size_t count);
// Seconds that one barrier of that many threads takes: the least of some looks, for others may be
// using the machine just then, and of some more later while it is poor.
double barrier_seconds(std::size_t threads);
// For tests: as if that had been measured; 0: nothing yet.
void set_barrier_seconds(std::size_t threads, double seconds);

using Work = void (*)(void *, const Crew &);
void run_on_team(std::size_t threads, Work work, void *context);

// Calls work(crew) on up to that many threads and returns when all are done. Denormals count as
// zero meanwhile (on Intel they cost 5 to 40 times as much), and the caller's mode is restored.
// `work` must not throw.
template <class F> void run(std::size_t threads, F &&work) {
  run_on_team(
      threads, [](void *context, const Crew &crew) { (*static_cast<F *>(context))(crew); },
      static_cast<void *>(&work));
}

} // namespace culpa
