#include "threads/guard.h"

#include <new>
#include <stdexcept>

#include "threads/team.h"

namespace culpa {

namespace {

using std::chrono::milliseconds;

thread_local Hold *innermost = nullptr; // of this thread's holds to read

} // namespace

std::uint64_t this_thread() {
  static std::atomic<std::uint64_t> last{0};
  thread_local const std::uint64_t number = last.fetch_add(1, std::memory_order_relaxed) + 1;
  return number;
}

Guard::Guard() : forks_(fork_count()) {}

void Guard::renew_after_fork() {
  const std::uint32_t now = fork_count();
  if (forks_.load(std::memory_order_acquire) == now)
    return;
  const ForkLatch latch; // among the child's own threads
  if (forks_.load(std::memory_order_relaxed) == now)
    return;
  new (&gate_) std::timed_mutex; // the old ones may be locked by threads that no longer exist
  new (&readers_) std::shared_timed_mutex;
  writer_.store(0, std::memory_order_relaxed);
  gatekeeper_.store(0, std::memory_order_relaxed);
  forks_.store(now, std::memory_order_release);
}

namespace {

template <class Mutex> bool lock_for(Mutex &mutex, milliseconds patience) {
  return patience.count() ? mutex.try_lock_for(patience) : mutex.try_lock();
}

} // namespace

bool Guard::try_lock(milliseconds patience) {
  renew_after_fork();
  if (gatekeeper_.load(std::memory_order_relaxed) != this_thread()) {
    if (!lock_for(gate_, patience))
      return false;
    gatekeeper_.store(this_thread(), std::memory_order_relaxed);
  }
  if (!lock_for(readers_, patience))
    return false;
  writer_.store(this_thread(), std::memory_order_relaxed);
  return true;
}

void Guard::leave_gate() {
  if (gatekeeper_.load(std::memory_order_relaxed) != this_thread())
    return;
  gatekeeper_.store(0, std::memory_order_relaxed);
  gate_.unlock();
}

void Guard::unlock() {
  writer_.store(0, std::memory_order_relaxed);
  readers_.unlock();
  leave_gate();
}

bool Guard::try_lock_shared(milliseconds patience) {
  renew_after_fork();
  // In a signal handler, while this thread waits to write: before it does.
  if (gatekeeper_.load(std::memory_order_relaxed) == this_thread())
    return readers_.try_lock_shared();
  if (!lock_for(gate_, patience))
    return false;
  const bool locked = readers_.try_lock_shared(); // a writer on its way out may have left the gate
  gate_.unlock();
  return locked;
}

Hold::Hold(Guard &guard, Access access, Interrupt interrupt) : guard_(guard), forks_(fork_count()) {
  if (held_already(access))
    return;
  while (!lock(access, milliseconds(50)))
    if (interrupt.requested && interrupt.requested(interrupt.context)) {
      if (forks_ == fork_count()) {
        guard_.leave_gate();
        throw Interrupted{};
      }
      forks_ = fork_count(); // in a child that the handler forked off: the guard is new
    }
}

Hold::Hold(Guard &guard, Access access, std::try_to_lock_t) : guard_(guard), forks_(fork_count()) {
  if (!held_already(access) && !lock(access, milliseconds(0)))
    guard_.leave_gate();
}

Hold::~Hold() {
  if (state_ == State::reads) {
    Hold **link = &innermost;
    while (*link != this)
      link = &(*link)->outer_;
    *link = outer_;
  }
  if (forks_ != fork_count()) { // a child that a signal handler forked off: see renew_after_fork
    if (state_ == State::writes) {
      guard_.writer_.store(0, std::memory_order_relaxed);
      guard_.gatekeeper_.store(0, std::memory_order_relaxed);
    }
    return;
  }
  if (state_ == State::reads)
    guard_.unlock_shared();
  else if (state_ == State::writes)
    guard_.unlock();
}

bool Hold::held_already(Access access) {
  bool held = guard_.writer_.load(std::memory_order_relaxed) == this_thread();
  for (const Hold *hold = innermost; hold && !held; hold = hold->outer_)
    held = &hold->guard_ == &guard_;
  const bool waits = guard_.gatekeeper_.load(std::memory_order_relaxed) == this_thread();
  if ((held || waits) && access == Access::write)
    throw std::runtime_error(
        "this model is in use by the call that this signal handler interrupted; note what is to be "
        "done, and change the model after that call");
  if (held)
    state_ = State::nested;
  return held;
}

bool Hold::lock(Access access, milliseconds patience) {
  if (access == Access::write) {
    if (!guard_.try_lock(patience))
      return false;
    state_ = State::writes;
    return true;
  }
  if (!guard_.try_lock_shared(patience))
    return false;
  state_ = State::reads;
  outer_ = innermost;
  innermost = this;
  return true;
}

std::deque<Hold> hold_all(const std::vector<Guard *> &guards, Access access, Interrupt interrupt) {
  std::deque<Hold> holds;
  Guard *awaited = guards.empty() ? nullptr : guards.front();
  while (awaited) {
    holds.clear();
    holds.emplace_back(*awaited, access, interrupt);
    Guard *refused = nullptr;
    for (Guard *guard : guards) {
      if (guard == awaited)
        continue;
      holds.emplace_back(*guard, access, std::try_to_lock);
      if (!holds.back()) {
        refused = guard;
        break;
      }
    }
    awaited = refused;
  }
  return holds;
}

} // namespace culpa
