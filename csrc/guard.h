// The lock of a model, and the holds of threads on such locks.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <shared_mutex>
#include <vector>

namespace culpa {

// Many readers share it, a writer holds it alone. A writer that waits goes before readers that come
// later, and a fork leaves it free in the child. Locked through Hold.
class Guard {
public:
  Guard();

private:
  friend class Hold;
  void lock();
  void unlock();
  void lock_shared();
  bool try_lock_shared(); // false also where one would only have to wait for the gate
  void unlock_shared() { readers_.unlock_shared(); }
  void renew_after_fork();

  std::mutex gate_;
  std::shared_mutex readers_;
  std::atomic<const void *> writer_{nullptr}; // the thread that holds it alone
  std::atomic<std::uint32_t> forks_;          // that it has seen
};

enum class Access { read, write };

// A guard, held while this lives.
//
// A signal handler runs on a thread that is inside of a call, where the weights are whole, and may
// use the models of that very call. So a thread that holds a guard may read once more without
// waiting; it gets a std::runtime_error where it would write, for it would wait for itself.
class Hold {
public:
  Hold(Guard &guard, Access access);
  Hold(Guard &guard, std::try_to_lock_t); // to read
  ~Hold();
  Hold(const Hold &) = delete;
  Hold &operator=(const Hold &) = delete;
  explicit operator bool() const { return state_ != State::none; }

private:
  enum class State { none, reads, writes, nested };
  bool held_already() const;
  void note(State state);

  Guard &guard_;
  State state_ = State::none;
  std::uint32_t forks_; // at that time: a child's guards are new
  Hold *outer_ = nullptr;
};

// Several at once, in one order, so that two calls never wait for each other.
std::deque<Hold> hold_all(std::vector<Guard *> guards, Access access);

} // namespace culpa
