#include "threads/team.h"

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
#if defined(_WIN32)
#define CULPA_EXPORT __declspec(dllexport)
#else
#include <pthread.h>
#define CULPA_EXPORT __attribute__((visibility("default")))
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
    if (!start_threads(threads))
      return work(context, Crew{});
    Barrier barrier(threads);
    pending_.store(static_cast<std::uint32_t>(threads - 1), std::memory_order_relaxed);
    for (std::size_t i = 1; i < threads; ++i) {
      Worker &worker = workers_[i - 1];
      worker.work = work;
      worker.context = context;
      worker.crew = {.index = i, .size = threads, .barrier = &barrier};
      worker.calls.fetch_add(1, std::memory_order_release);
      worker.calls.notify_one();
    }
    const std::uint32_t born = fork_count();
    work(context, {.index = 0, .size = threads, .barrier = &barrier});
    for (std::uint32_t left = 0;
         (left = pending_.load(std::memory_order_acquire)) != 0 && born == fork_count();)
      wait_while(pending_, left);
  }

  // Not a mutex: a signal handler inside of run() may ask again on the same thread.
  std::atomic<bool> busy{false};

private:
  // Starts the threads that are missing; false where the system refuses one.
  bool start_threads(std::size_t threads) noexcept {
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

namespace {

// What is known of one number of threads.
struct BarrierCost {
  std::atomic<double> seconds{0};      // 0: not measured yet
  std::atomic<std::uint32_t> asked{0}; // since the process began
};

BarrierCost &barrier_cost(std::size_t threads) {
  static std::array<BarrierCost, 257> costs;
  return costs.at(std::min<std::size_t>(threads, 256));
}

// Threads that are awake and have a CPU each meet in 0.5 to 3 us. What was measured above that may
// have been a bad moment: another process on a CPU, or a core that had to wake up.
constexpr double good_barrier = 3e-6;
constexpr double longest_look = 5e-3;

// The least of some looks, or 0 where the team is busy.
double measure_barrier(std::size_t threads) {
  using Clock = std::chrono::steady_clock;
  double least = 0;
  bool enough = false; // written by the caller's thread before a barrier, read by all after it
  run(threads, [&](const Crew &crew) {
    if (crew.size != threads)
      return;
    const auto first = Clock::now();
    for (int look = 0; look < 9; ++look) {
      crew.wait();
      if (enough)
        return;
      const auto begin = Clock::now();
      for (int i = 0; i < 32; ++i)
        crew.wait();
      if (crew.index != 0)
        continue;
      const auto now = Clock::now();
      const double time = std::chrono::duration<double>(now - begin).count() / 32;
      least = look == 0 ? time : std::min(least, time);
      enough = std::chrono::duration<double>(now - first).count() > longest_look;
    }
  });
  return least;
}

} // namespace

double barrier_seconds(std::size_t threads) {
  if (threads < 2)
    return 0;
  BarrierCost &cost = barrier_cost(threads);
  const std::uint32_t asked = cost.asked.fetch_add(1, std::memory_order_relaxed) + 1;
  double known = cost.seconds.load(std::memory_order_relaxed);
  // Again at the 8th question, the 16th, the 32nd ...: a bad look is soon replaced, and a machine
  // whose barriers are that slow pays for some 20 looks in a process's life.
  const bool again = known > good_barrier && asked >= 8 && (asked & (asked - 1)) == 0;
  if (known != 0 && !again)
    return known;
  const double seconds = measure_barrier(threads);
  if (seconds == 0) // the team was busy: alone there is nothing to wait for
    return known != 0 ? known : 1e-6;
  known = std::max(known == 0 ? seconds : std::min(known, seconds), 1e-7);
  cost.seconds.store(known, std::memory_order_relaxed);
  return known;
}

void set_barrier_seconds(std::size_t threads, double seconds) {
  barrier_cost(threads).seconds.store(seconds, std::memory_order_relaxed);
}

} // namespace culpa

// What threadpoolctl knows the library by: other packages have a file of the name _core, too.
extern "C" CULPA_EXPORT std::size_t culpa_num_threads() { return culpa::num_threads(); }
