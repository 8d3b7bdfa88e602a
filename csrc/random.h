// Random numbers without state: Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as
// easy as 1, 2, 3") maps (key, counter) to 128 bits. Every draw names what it is for, so it does
// not depend on threads, on blocks, or on what was drawn before.
//
// key = seed; counter = (index / 4, row, step, purpose | layer | member). Index counts single
// 32-bit numbers: index i is word i % 4 of counter i / 4.
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "scalar.h"

namespace culpa {

enum class Purpose : std::uint32_t {
  initial_weights = 1,
  shuffle = 2,
  dropout = 3,
  noise = 4,
  sample = 5,
  attribution = 6,
  validation = 7
};

using Words = std::array<std::uint32_t, 4>;

inline Words philox(Words c, std::uint64_t key) {
  auto key_0 = static_cast<std::uint32_t>(key), key_1 = static_cast<std::uint32_t>(key >> 32U);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = std::uint64_t{0xD2511F53U} * c[0];
    const std::uint64_t b = std::uint64_t{0xCD9E8D57U} * c[2];
    c = {static_cast<std::uint32_t>(b >> 32U) ^ c[1] ^ key_0, static_cast<std::uint32_t>(b),
         static_cast<std::uint32_t>(a >> 32U) ^ c[3] ^ key_1, static_cast<std::uint32_t>(a)};
    key_0 += 0x9E3779B9U;
    key_1 += 0xBB67AE85U;
  }
  return c;
}

// The last counter word: up to 255 purposes, 4,095 layers, 4,095 members.
inline std::uint32_t stream(Purpose purpose, std::size_t layer, std::size_t member) {
  return static_cast<std::uint32_t>(purpose) << 24U |
         static_cast<std::uint32_t>(layer & 0xfffU) << 12U |
         static_cast<std::uint32_t>(member & 0xfffU);
}

// One stream of 64-bit numbers, drawn in order.
class Sequence {
public:
  Sequence(std::uint64_t seed, Purpose purpose, std::size_t layer, std::size_t member,
           std::uint64_t step = 0)
      : key_(seed), step_(step), stream_(stream(purpose, layer, member)) {}

  std::uint64_t bits() {
    if (used_ == 4) {
      words_ =
          philox({static_cast<std::uint32_t>(index_), static_cast<std::uint32_t>(index_ >> 32U),
                  static_cast<std::uint32_t>(step_), stream_},
                 key_);
      ++index_;
      used_ = 0;
    }
    const std::uint64_t value = words_[used_] | std::uint64_t{words_[used_ + 1]} << 32U;
    used_ += 2;
    return value;
  }
  // In [0, 1), with 53 random bits.
  double uniform() { return static_cast<double>(bits() >> 11U) * 0x1p-53; }
  // Standard normal (Box and Muller 1958), one of the pair.
  double normal() {
    const double u = 1.0 - uniform(), v = uniform();
    return std::sqrt(-2.0 * natural_log(u)) * cosine_of_turns(v);
  }
  // In [0, n), every value equally likely (Lemire 2019).
  std::uint64_t below(std::uint64_t n) {
    for (;;) {
      const auto product = static_cast<unsigned __int128>(bits()) * n;
      const auto low = static_cast<std::uint64_t>(product);
      if (low >= n || low >= (0 - n) % n)
        return static_cast<std::uint64_t>(product >> 64U);
    }
  }

private:
  std::uint64_t key_, step_, index_ = 0;
  std::uint32_t stream_;
  Words words_{};
  std::size_t used_ = 4;
};

} // namespace culpa
