// Storage aligned to a cache line, which is also the widest SIMD register. Zeroed. Large buffers
// ask for huge pages: products walk many panels at once, each on pages of its own, and misses of
// the page table cost 6 % of a step of 1024-2048-2048-1000 without (measured in a virtual machine).
#pragma once

#include <cstddef>
#include <cstring>
#include <new>
#include <utility>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace culpa {

template <class T> class Buffer {
public:
  Buffer() = default;
  explicit Buffer(std::size_t size) : size_(size) {
    if (size > max_size)
      throw std::bad_array_new_length();
    // nothrow and a throw of our own: AddressSanitizer ends the process where plain new fails.
    data_ =
        static_cast<T *>(::operator new((size ? size : 1) * sizeof(T), alignment(), std::nothrow));
    if (!data_)
      throw std::bad_alloc();
#if defined(__linux__)
    if (huge()) // advice: whether it is taken does not matter
      static_cast<void>(madvise(static_cast<void *>(data_), size * sizeof(T), MADV_HUGEPAGE));
#endif
    std::memset(static_cast<void *>(data_), 0, size * sizeof(T));
  }
  Buffer(Buffer &&other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  Buffer &operator=(Buffer &&other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  Buffer(const Buffer &) = delete;
  Buffer &operator=(const Buffer &) = delete;
  ~Buffer() { ::operator delete(data_, alignment()); }

  T *data() { return data_; }
  const T *data() const { return data_; }
  std::size_t size() const { return size_; }
  T &operator[](std::size_t i) { return data_[i]; }
  const T &operator[](std::size_t i) const { return data_[i]; }

private:
  static constexpr std::size_t huge_page = std::size_t{2} << 20U;
  bool huge() const { return size_ * sizeof(T) >= 2 * huge_page; }
  std::align_val_t alignment() const { return std::align_val_t{huge() ? huge_page : 64}; }

  static constexpr std::size_t max_size = (std::size_t{1} << 48U) / sizeof(T);
  T *data_ = nullptr;
  std::size_t size_ = 0;
};

} // namespace culpa
