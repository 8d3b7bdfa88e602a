// The lock of a model, and the holds of threads on such locks.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <mutex>
#include <shared_mutex>
#include <vector>

#include "threads/interrupt.h"

namespace culpa {

// A signal handler raised while a call waited for a guard. Python knows the rest.
struct Interrupted : std::exception {};

// A number of this thread's own, through a fork too. (An address or a handle may be used again.)
std::uint64_t this_thread();

// Many readers share it, a writer holds it alone. A writer that waits goes before readers that come
// later, and a fork leaves it free in the child. Locked through Hold.
class Guard {
public:
  Guard();

private:
  friend class Hold;
  // Each waits for so long at the most, or not at all. A writer that was in vain keeps the gate,
  // unless it leaves.
  bool try_lock(std::chrono::milliseconds patience);
  void leave_gate();
  void unlock();
  bool try_lock_shared(std::chrono::milliseconds patience);
  void unlock_shared() { readers_.unlock_shared(); }
  void renew_after_fork();

  std::timed_mutex gate_; // readers wait behind it for a writer
  std::shared_timed_mutex readers_;
  std::atomic<std::uint64_t> gatekeeper_{0}; // the writer that holds the gate, and may wait still
  std::atomic<std::uint64_t> writer_{0};     // the thread that holds it alone
  std::atomic<std::uint32_t> forks_;         // that it has seen
};

enum class Access { read, write };

// A guard, held while this lives.
//
// A signal handler runs on a thread that is inside of a call, where the weights are whole, and may
// use the models of that very call. So a thread that holds a guard may read once more without
// waiting; it gets a std::runtime_error where it would write, for it would wait for itself.
class Hold {
public:
  // Waits, while signal handlers run; throws Interrupted where one raises.
  Hold(Guard &guard, Access access, Interrupt interrupt);
  Hold(Guard &guard, Access access, std::try_to_lock_t);
  ~Hold();
  Hold(const Hold &) = delete;
  Hold &operator=(const Hold &) = delete;
  explicit operator bool() const { return state_ != State::none; }

private:
  enum class State { none, reads, writes, nested };
  bool held_already(Access access);
  bool lock(Access access, std::chrono::milliseconds patience);

  Guard &guard_;
  State state_ = State::none;
  std::uint32_t forks_; // at that time: a child's guards are new
  Hold *outer_ = nullptr;
};

// Several at once. None is held while the call waits for another, whose holder may wait for it.
std::deque<Hold> hold_all(const std::vector<Guard *> &guards, Access access, Interrupt interrupt);

} // namespace culpa
