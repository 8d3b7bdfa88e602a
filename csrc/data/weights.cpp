#include "data/weights.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

namespace culpa {

namespace {

constexpr int mantissa_bits = 52, exponent_bias = 1023;
// Usual weights stay as they are.
constexpr int usual_exponent = 16;

std::uint64_t magnitude(double weight) {
  return std::bit_cast<std::uint64_t>(weight) & (~std::uint64_t{0} >> 1U);
}

// Of the leading bit. From the bits, for denormals count as zero while the core works.
int exponent_of(std::uint64_t bits) {
  const auto exponent = static_cast<int>(bits >> mantissa_bits);
  return exponent ? exponent - exponent_bias
                  : static_cast<int>(std::bit_width(bits)) - exponent_bias - mantissa_bits;
}

} // namespace

double BatchWeights::shifted(double weight) const {
  if (shift == 0)
    return weight;
  const std::uint64_t bits = magnitude(weight);
  if (bits >> mantissa_bits)
    return std::ldexp(weight, shift);
  return std::ldexp(static_cast<double>(bits), shift - exponent_bias - mantissa_bits + 1);
}

double BatchWeights::given_weight_sum() const { return std::ldexp(weight_sum, -shift); }

BatchWeights batch_weights(const ExamplesView &examples, Range positions) {
  BatchWeights batch;
  if (!examples.sample_weights) {
    batch.weight_sum = static_cast<double>(positions.end - positions.begin);
    return batch;
  }
  std::uint64_t greatest = 0; // numbers of one sign are in the order of their bits
  for (std::size_t i = positions.begin; i < positions.end; ++i) {
    const double weight = examples.sample_weight(i);
    batch.weight_sum += weight;
    greatest = std::max(greatest, magnitude(weight));
  }
  const int exponent = greatest ? exponent_of(greatest) : 0;
  if (std::abs(exponent) <= usual_exponent)
    return batch;
  batch = {-exponent, 0};
  for (std::size_t i = positions.begin; i < positions.end; ++i)
    batch.weight_sum += batch.shifted(examples.sample_weight(i));
  return batch;
}

} // namespace culpa
