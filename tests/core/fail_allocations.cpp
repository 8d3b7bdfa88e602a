// Loaded before the C++ library: the n-th allocation by operator new fails, once it is armed.
#include <cstdlib>
#include <new>

namespace {
long left = -1, seen = 0;

void *allocate(std::size_t size) {
  ++seen;
  if (left >= 0 && left-- == 0)
    return nullptr;
  return std::malloc(size ? size : 1);
}
} // namespace

extern "C" void arm(long n) {
  left = n;
  seen = 0;
}
extern "C" long count() { return seen; }

void *operator new(std::size_t size) {
  if (void *p = allocate(size))
    return p;
  throw std::bad_alloc();
}
void *operator new[](std::size_t size) { return operator new(size); }
void *operator new(std::size_t size, const std::nothrow_t &) noexcept { return allocate(size); }
void operator delete(void *p) noexcept { std::free(p); }
void operator delete[](void *p) noexcept { std::free(p); }
void operator delete(void *p, std::size_t) noexcept { std::free(p); }
void operator delete[](void *p, std::size_t) noexcept { std::free(p); }
