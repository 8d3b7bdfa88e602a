#include "guard.h"

#include <algorithm>
#include <functional>
#include <new>
#include <stdexcept>

#include "team.h"

namespace culpa {

namespace {

thread_local Hold *innermost = nullptr; // of this thread's holds to read

const void *this_thread() { return &innermost; } // a thread keeps the address through a fork

} // namespace

Guard::Guard() : forks_(fork_count()) {}

void Guard::renew_after_fork() {
  const std::uint32_t now = fork_count();
  if (forks_.load(std::memory_order_acquire) == now)
    return;
  const ForkLatch latch; // among the child's own threads
  if (forks_.load(std::memory_order_relaxed) == now)
    return;
  new (&gate_) std::mutex; // the old ones may be locked by threads that no longer exist
  new (&readers_) std::shared_mutex;
  writer_.store(nullptr, std::memory_order_relaxed);
  forks_.store(now, std::memory_order_release);
}

void Guard::lock() {
  renew_after_fork();
  gate_.lock(); // readers wait behind it
  readers_.lock();
  writer_.store(this_thread(), std::memory_order_relaxed);
}

void Guard::unlock() {
  writer_.store(nullptr, std::memory_order_relaxed);
  readers_.unlock();
  gate_.unlock();
}

void Guard::lock_shared() {
  renew_after_fork();
  gate_.lock();
  readers_.lock_shared();
  gate_.unlock();
}

bool Guard::try_lock_shared() {
  renew_after_fork();
  if (!gate_.try_lock())
    return false;
  const bool locked = readers_.try_lock_shared();
  gate_.unlock();
  return locked;
}

Hold::Hold(Guard &guard, Access access) : guard_(guard), forks_(fork_count()) {
  if (held_already()) {
    if (access == Access::write)
      throw std::runtime_error(
          "this model is in use by the call that this signal handler interrupted; note what is "
          "to be done, and change the model after that call");
    state_ = State::nested;
  } else if (access == Access::write) {
    guard_.lock();
    state_ = State::writes;
  } else {
    guard_.lock_shared();
    note(State::reads);
  }
}

Hold::Hold(Guard &guard, std::try_to_lock_t) : guard_(guard), forks_(fork_count()) {
  if (held_already())
    state_ = State::nested;
  else if (guard_.try_lock_shared())
    note(State::reads);
}

Hold::~Hold() {
  if (state_ == State::reads) {
    Hold **link = &innermost;
    while (*link != this)
      link = &(*link)->outer_;
    *link = outer_;
  }
  if (forks_ != fork_count()) { // a child that a signal handler forked off: see renew_after_fork
    if (state_ == State::writes)
      guard_.writer_.store(nullptr, std::memory_order_relaxed);
    return;
  }
  if (state_ == State::reads)
    guard_.unlock_shared();
  else if (state_ == State::writes)
    guard_.unlock();
}

bool Hold::held_already() const {
  if (guard_.writer_.load(std::memory_order_relaxed) == this_thread())
    return true;
  for (const Hold *hold = innermost; hold; hold = hold->outer_)
    if (&hold->guard_ == &guard_)
      return true;
  return false;
}

void Hold::note(State state) {
  state_ = state;
  outer_ = innermost;
  innermost = this;
}

std::deque<Hold> hold_all(std::vector<Guard *> guards, Access access) {
  std::sort(guards.begin(), guards.end(), std::less<>());
  std::deque<Hold> holds;
  for (Guard *guard : guards)
    holds.emplace_back(*guard, access);
  return holds;
}

} // namespace culpa
