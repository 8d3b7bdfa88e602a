// Counts a process's calls to the allocator, to locks and to the kernel's futex; each goes on to
// the C library. test_steady.py loads it into a Python (LD_PRELOAD) and reads the counters there.
// Needs glibc: malloc and its kind go on to its __libc_ names, for looking the next one up (dlsym)
// may itself allocate.
#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdlib>
#include <ctime>
#include <dlfcn.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

using Counter = std::atomic<long>;

extern "C" {
Counter calls_of_malloc, calls_of_calloc, calls_of_realloc, calls_of_aligned_alloc,
    calls_of_posix_memalign, calls_of_free, calls_of_pthread_mutex_lock,
    calls_of_pthread_mutex_trylock, calls_of_pthread_mutex_timedlock,
    calls_of_pthread_mutex_clocklock, calls_of_pthread_rwlock_rdlock,
    calls_of_pthread_rwlock_tryrdlock, calls_of_pthread_rwlock_timedrdlock,
    calls_of_pthread_rwlock_clockrdlock, calls_of_pthread_rwlock_wrlock,
    calls_of_pthread_rwlock_trywrlock, calls_of_pthread_rwlock_timedwrlock,
    calls_of_pthread_rwlock_clockwrlock, calls_of_futex;

void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);
void __libc_free(void *);
}

namespace {

// Calls the function of this name that comes after ours.
template <auto ours, class... Arguments> auto go_on(const char *name, Arguments... arguments) {
  static std::atomic<decltype(ours)> next{nullptr};
  if (!next.load())
    next.store(reinterpret_cast<decltype(ours)>(dlsym(RTLD_NEXT, name)));
  return next.load()(arguments...);
}

} // namespace

extern "C" {

void *malloc(size_t size) noexcept {
  ++calls_of_malloc;
  return __libc_malloc(size);
}

void *calloc(size_t count, size_t size) noexcept {
  ++calls_of_calloc;
  return __libc_calloc(count, size);
}

void *realloc(void *old, size_t size) noexcept {
  ++calls_of_realloc;
  return __libc_realloc(old, size);
}

void *aligned_alloc(size_t alignment, size_t size) noexcept {
  ++calls_of_aligned_alloc;
  return __libc_memalign(alignment, size);
}

int posix_memalign(void **result, size_t alignment, size_t size) noexcept {
  ++calls_of_posix_memalign;
  void *made = __libc_memalign(alignment, size);
  if (!made)
    return ENOMEM;
  *result = made;
  return 0;
}

void free(void *old) noexcept {
  ++calls_of_free;
  __libc_free(old);
}

int pthread_mutex_lock(pthread_mutex_t *mutex) noexcept {
  ++calls_of_pthread_mutex_lock;
  return go_on<&pthread_mutex_lock>("pthread_mutex_lock", mutex);
}

int pthread_mutex_trylock(pthread_mutex_t *mutex) noexcept {
  ++calls_of_pthread_mutex_trylock;
  return go_on<&pthread_mutex_trylock>("pthread_mutex_trylock", mutex);
}

int pthread_mutex_timedlock(pthread_mutex_t *mutex, const timespec *until) noexcept {
  ++calls_of_pthread_mutex_timedlock;
  return go_on<&pthread_mutex_timedlock>("pthread_mutex_timedlock", mutex, until);
}

int pthread_mutex_clocklock(pthread_mutex_t *mutex, clockid_t clock,
                            const timespec *until) noexcept {
  ++calls_of_pthread_mutex_clocklock;
  return go_on<&pthread_mutex_clocklock>("pthread_mutex_clocklock", mutex, clock, until);
}

int pthread_rwlock_rdlock(pthread_rwlock_t *lock) noexcept {
  ++calls_of_pthread_rwlock_rdlock;
  return go_on<&pthread_rwlock_rdlock>("pthread_rwlock_rdlock", lock);
}

int pthread_rwlock_tryrdlock(pthread_rwlock_t *lock) noexcept {
  ++calls_of_pthread_rwlock_tryrdlock;
  return go_on<&pthread_rwlock_tryrdlock>("pthread_rwlock_tryrdlock", lock);
}

int pthread_rwlock_timedrdlock(pthread_rwlock_t *lock, const timespec *until) noexcept {
  ++calls_of_pthread_rwlock_timedrdlock;
  return go_on<&pthread_rwlock_timedrdlock>("pthread_rwlock_timedrdlock", lock, until);
}

int pthread_rwlock_clockrdlock(pthread_rwlock_t *lock, clockid_t clock,
                               const timespec *until) noexcept {
  ++calls_of_pthread_rwlock_clockrdlock;
  return go_on<&pthread_rwlock_clockrdlock>("pthread_rwlock_clockrdlock", lock, clock, until);
}

int pthread_rwlock_wrlock(pthread_rwlock_t *lock) noexcept {
  ++calls_of_pthread_rwlock_wrlock;
  return go_on<&pthread_rwlock_wrlock>("pthread_rwlock_wrlock", lock);
}

int pthread_rwlock_trywrlock(pthread_rwlock_t *lock) noexcept {
  ++calls_of_pthread_rwlock_trywrlock;
  return go_on<&pthread_rwlock_trywrlock>("pthread_rwlock_trywrlock", lock);
}

int pthread_rwlock_timedwrlock(pthread_rwlock_t *lock, const timespec *until) noexcept {
  ++calls_of_pthread_rwlock_timedwrlock;
  return go_on<&pthread_rwlock_timedwrlock>("pthread_rwlock_timedwrlock", lock, until);
}

int pthread_rwlock_clockwrlock(pthread_rwlock_t *lock, clockid_t clock,
                               const timespec *until) noexcept {
  ++calls_of_pthread_rwlock_clockwrlock;
  return go_on<&pthread_rwlock_clockwrlock>("pthread_rwlock_clockwrlock", lock, clock, until);
}

// Threads of the core that wait for each other (std::atomic::wait, notify) end up here.
long syscall(long number, ...) noexcept {
  if (number == SYS_futex)
    ++calls_of_futex;
  long arguments[6];
  va_list list;
  va_start(list, number);
  for (long &argument : arguments)
    argument = va_arg(list, long);
  va_end(list);
  return go_on<&syscall>("syscall", number, arguments[0], arguments[1], arguments[2], arguments[3],
                         arguments[4], arguments[5]);
}
}
