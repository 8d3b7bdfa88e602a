// The greatest or least scores of each row, kept while all scores stream by.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "buffer.h"

namespace culpa {

template <class T> struct Candidate {
  T score;
  std::int64_t index;
};
// Whether a comes first where the greatest scores do (sign 1), or the least (sign -1).
template <class T> struct Before {
  T sign;
  bool operator()(const Candidate<T> &a, const Candidate<T> &b) const {
    if (std::isnan(a.score) != std::isnan(b.score))
      return std::isnan(b.score);
    if (std::isnan(a.score) || a.score == b.score)
      return a.index < b.index;
    return sign * a.score > sign * b.score;
  }
};

// The first candidates of each row: heaps with the last of them on top. The order is total, so what
// is left does not depend on the order in which they came.
template <class T> class Ranking {
public:
  Ranking(std::size_t rows, std::size_t top, T sign)
      : top_(top), before_{sign}, heaps_(rows * top), sizes_(rows) {}
  bool full(std::size_t row) const { return sizes_[row] == top_; }
  T last(std::size_t row) const { return heaps_[row * top_].score; }
  void offer_candidate(std::size_t row, Candidate<T> one) {
    Candidate<T> *begin = heaps_.data() + row * top_;
    std::size_t &size = sizes_[row];
    if (size == top_) {
      if (!before_(one, *begin))
        return;
      std::pop_heap(begin, begin + size--, before_);
    }
    begin[size++] = one;
    std::push_heap(begin, begin + size, before_);
  }
  void write_row(std::size_t row, std::int64_t *indices, T *scores) {
    Candidate<T> *begin = heaps_.data() + row * top_;
    std::sort_heap(begin, begin + sizes_[row], before_);
    for (std::size_t i = 0; i < sizes_[row]; ++i) {
      indices[i] = begin[i].index;
      scores[i] = begin[i].score;
    }
    sizes_[row] = 0; // for the next block of rows
  }

private:
  std::size_t top_;
  Before<T> before_;
  Buffer<Candidate<T>> heaps_;
  Buffer<std::size_t> sizes_;
};

} // namespace culpa
