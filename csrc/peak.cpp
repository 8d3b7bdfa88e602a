#include "peak.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include "threads/team.h"
#include "view.h"

namespace culpa {

template <class T> double measure_peak(std::size_t threads, std::size_t rounds) {
  const auto &k = kernels::active<T>();
  const auto turns = static_cast<std::size_t>(2e7 / k.peak_flop) + 1;
  rounds = std::max<std::size_t>(rounds, 1);
  std::vector<double> rates(rounds);
  run(threads, [&](const Crew &crew) {
    for (double &rate : rates) {
      crew.wait();
      const auto began = std::chrono::steady_clock::now();
      volatile T kept = k.peak(turns);
      (void)kept;
      crew.wait();
      const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
      if (crew.index == 0)
        rate = static_cast<double>(crew.size) * static_cast<double>(turns) * k.peak_flop /
               took.count();
    }
  });
  std::nth_element(rates.begin(), rates.begin() + static_cast<std::ptrdiff_t>(rounds / 2),
                   rates.end());
  return rates[rounds / 2];
}

template double measure_peak<float>(std::size_t, std::size_t);
template double measure_peak<double>(std::size_t, std::size_t);

} // namespace culpa
