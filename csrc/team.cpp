#include "team.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <deque>
#include <new>
#include <thread>
#include <utility>

#if defined(__x86_64__)
#include <immintrin.h>
#endif
#if !defined(_WIN32)
#include <pthread.h>
#endif

namespace culpa {

namespace {

inline void pause() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// About 20 us of spinning: longer than threads of one step differ, shorter than what a stolen core
// may cost. A sleeper is woken in 5 to 10 us.
constexpr int spins = 500;

// Waits until the value is no longer `old`.
void wait_while(const std::atomic<std::uint32_t> &value, std::uint32_t old) {
  for (int i = 0; i < spins; ++i) {
    if (value.load(std::memory_order_acquire) != old)
      return;
    pause();
  }
  while (value.load(std::memory_order_acquire) == old)
    value.wait(old, std::memory_order_acquire);
}

// Flushes denormals to zero while it lives.
class FlushDenormals {
public:
  FlushDenormals(const FlushDenormals &) = delete;
  FlushDenormals &operator=(const FlushDenormals &) = delete;
#if defined(__x86_64__)
  FlushDenormals() : saved_(_mm_getcsr()) { _mm_setcsr(saved_ | 0x8040U); }
  ~FlushDenormals() { _mm_setcsr(saved_); }

private:
  unsigned saved_;
#elif defined(__aarch64__)
  FlushDenormals() {
    asm volatile("mrs %0, fpcr" : "=r"(saved_));
    asm volatile("msr fpcr, %0" : : "r"(saved_ | (std::uint64_t{1} << 24U)));
  }
  ~FlushDenormals() { asm volatile("msr fpcr, %0" : : "r"(saved_)); }

private:
  std::uint64_t saved_;
#else
  FlushDenormals() = default;
#endif
};

struct Worker {
  alignas(64) std::atomic<std::uint32_t> calls{0};
  Work work = nullptr;
  void *context = nullptr;
  Crew crew;
};

class Team {
public:
  void run(std::size_t threads, Work work, void *context) {
    if (!grow(threads))
      return work(context, Crew{});
    Barrier barrier(threads);
    pending_.store(static_cast<std::uint32_t>(threads - 1), std::memory_order_relaxed);
    for (std::size_t i = 1; i < threads; ++i) {
      Worker &worker = workers_[i - 1];
      worker.work = work;
      worker.context = context;
      worker.crew = {i, threads, &barrier};
      worker.calls.fetch_add(1, std::memory_order_release);
      worker.calls.notify_one();
    }
    const std::uint32_t born = fork_count();
    work(context, {0, threads, &barrier});
    for (std::uint32_t left = 0;
         (left = pending_.load(std::memory_order_acquire)) != 0 && born == fork_count();)
      wait_while(pending_, left);
  }

  // Not a mutex: a signal handler inside of run() may ask again on the same thread.
  std::atomic<bool> busy{false};

private:
  // Starts the threads that are missing; false where the system refuses one.
  bool grow(std::size_t threads) noexcept {
    try {
      while (workers_.size() + 1 < threads) {
        workers_.emplace_back();
        try {
          std::thread(&Team::live, this, &workers_.back()).detach();
        } catch (...) {
          workers_.pop_back(); // nobody would ever answer for it
          throw;
        }
      }
    } catch (...) {
      return false;
    }
    return true;
  }

  void live(Worker *self) {
    const FlushDenormals flush;
    for (std::uint32_t seen = 0;; ++seen) {
      wait_while(self->calls, seen);
      self->work(self->context, self->crew);
      if (pending_.fetch_sub(1, std::memory_order_acq_rel) == 1)
        pending_.notify_one();
    }
  }

  std::deque<Worker> workers_;
  alignas(64) std::atomic<std::uint32_t> pending_{0};
};

// Never destroyed: its threads sleep until the process ends.
std::atomic<Team *> the_team{nullptr};
std::atomic<std::uint32_t> forks{0};
std::atomic_flag latched;
std::atomic<std::size_t> thread_count{1};
thread_local std::size_t own_count = 0; // of calls from this thread; 0: as all others

Team &team() {
  Team *found = the_team.load(std::memory_order_acquire);
  if (!found) {
    Team *fresh = new Team;
    if (the_team.compare_exchange_strong(found, fresh, std::memory_order_acq_rel))
      return *fresh;
    delete fresh;
  }
  return *found;
}

} // namespace

void Barrier::wait() {
  if (forks_ != fork_count())
    return;
  const std::uint32_t generation = generation_.load(std::memory_order_acquire);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads_) {
    arrived_.store(0, std::memory_order_relaxed);
    generation_.store(generation + 1, std::memory_order_release);
    generation_.notify_all();
    return;
  }
  wait_while(generation_, generation);
}

std::size_t num_threads() {
  return own_count ? own_count : thread_count.load(std::memory_order_relaxed);
}
void set_num_threads(std::size_t count) {
  thread_count.store(std::max<std::size_t>(count, 1), std::memory_order_relaxed);
}
std::size_t set_own_threads(std::size_t count) { return std::exchange(own_count, count); }

void run_on_team(std::size_t threads, Work work, void *context) {
  const FlushDenormals flush;
  if (threads > 1) {
    Team &crowd = team();
    if (!crowd.busy.exchange(true, std::memory_order_acquire)) {
      crowd.run(threads, work, context);
      crowd.busy.store(false, std::memory_order_release);
      return;
    }
  }
  work(context, Crew{});
}

void watch_forks() {
#if !defined(_WIN32)
  // After a fork only the calling thread lives on: the child forgets the team, busy or not, and
  // builds its own at the next use.
  pthread_atfork(nullptr, nullptr, [] {
    the_team.store(nullptr, std::memory_order_release);
    latched.clear();
    forks.fetch_add(1, std::memory_order_relaxed);
  });
#endif
}

std::uint32_t fork_count() { return forks.load(std::memory_order_relaxed); }

ForkLatch::ForkLatch() {
  while (latched.test_and_set(std::memory_order_acquire))
    pause();
}
ForkLatch::~ForkLatch() { latched.clear(std::memory_order_release); }

CallersFloatMode::CallersFloatMode() {
#if defined(__x86_64__)
  saved_ = _mm_getcsr();
  _mm_setcsr(static_cast<unsigned>(saved_) & ~0x8040U);
#elif defined(__aarch64__)
  asm volatile("mrs %0, fpcr" : "=r"(saved_));
  asm volatile("msr fpcr, %0" : : "r"(saved_ & ~(std::uint64_t{1} << 24U)));
#endif
}

CallersFloatMode::~CallersFloatMode() {
#if defined(__x86_64__)
  _mm_setcsr(static_cast<unsigned>(saved_));
#elif defined(__aarch64__)
  asm volatile("msr fpcr, %0" : : "r"(saved_));
#endif
}

double barrier_seconds(std::size_t threads) {
  static std::array<std::atomic<double>, 257> measured{};
  std::atomic<double> &known = measured.at(std::min<std::size_t>(threads, 256));
  if (threads > 1 && known.load(std::memory_order_relaxed) == 0) {
    std::array<double, 9> times{};
    bool complete = false;
    run(threads, [&](const Crew &crew) {
      if (crew.index == 0)
        complete = crew.size == threads;
      for (double &time : times) {
        crew.wait();
        const auto begin = std::chrono::steady_clock::now();
        for (int i = 0; i < 32; ++i)
          crew.wait();
        const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
        if (crew.index == 0)
          time = taken.count() / 32;
      }
    });
    if (!complete) // the team was busy: alone there is nothing to wait for
      return 1e-6;
    known.store(std::max(*std::min_element(times.begin(), times.end()), 1e-7),
                std::memory_order_relaxed);
  }
  return known.load(std::memory_order_relaxed);
}

} // namespace culpa
