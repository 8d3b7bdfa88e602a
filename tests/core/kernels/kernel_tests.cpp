// Every function of kernels.h, of every instruction set that runs here, against plain loops in
// float64. No framework: a line for each table, and a non-zero status where a check fails.
#include "check.h"

namespace culpa::tests {
namespace {

template <class T>
void check_all(const Kernels<T> &k, const std::string &table, const char *type, Log &log) {
  log.place = table + " " + type;
  check_products(k, log);
  check_pack(k, log);
  check_activations(k, log);
  check_elementwise(k, log);
  check_data(k, log);
  check_norm(k, log);
  check_sparse(k, log);
  check_losses(k, log);
}

} // namespace
} // namespace culpa::tests

int main() {
  culpa::tests::Log log;
  for (const auto *const *table = culpa::kernels::available(); *table; ++table) {
    const std::size_t before = log.checks;
    culpa::tests::check_all((*table)->f32, (*table)->name, "float", log);
    culpa::tests::check_all((*table)->f64, (*table)->name, "double", log);
    std::printf("%s: %zu checks\n", (*table)->name, log.checks - before);
  }
  return log.failures ? 1 : 0;
}
