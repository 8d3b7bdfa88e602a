// Which table this process uses. Chosen at the first use; CULPA_FORCE_ISA overrides it.
#include "kernels.h"

#include <cstdlib>
#include <stdexcept>
#include <string>

namespace culpa::kernels {

const Table *const *available() {
  static const Table *found[4] = {};
  static const bool once = [] {
    std::size_t n = 0;
#if defined(__x86_64__)
    // __builtin_cpu_supports also asks whether the operating system saves the wide registers.
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
      found[n++] = &avx512_table;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
      found[n++] = &avx2_table;
    found[n++] = &baseline_table;
#elif defined(__aarch64__)
    found[n++] = &neon_table;
#endif
    return true;
  }();
  static_cast<void>(once);
  return found;
}

static const Table &choose_table() {
  const Table *const *tables = available();
  const char *forced = std::getenv("CULPA_FORCE_ISA");
  if (!forced || !*forced)
    return *tables[0];
  std::string names;
  for (; *tables; ++tables) {
    if (std::string((*tables)->name) == forced)
      return **tables;
    names += (names.empty() ? "" : ", ") + std::string((*tables)->name);
  }
  throw std::runtime_error("CULPA_FORCE_ISA: expected an instruction set that this CPU can run (" +
                           names + "), got \"" + forced +
                           "\"; unset it to let culpa choose the fastest.");
}

const Table &table() {
  static const Table &chosen = choose_table();
  return chosen;
}

template <> const Kernels<float> &active<float>() { return table().f32; }
template <> const Kernels<double> &active<double>() { return table().f64; }

} // namespace culpa::kernels
