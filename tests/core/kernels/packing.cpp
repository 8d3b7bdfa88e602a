// pack: the copies of a weight matrix that the products read.
#include "check.h"

namespace culpa::tests {
namespace {

// What pads a panel may hold anything.
template <class T>
void check_pack_of(const Kernels<T> &k, std::size_t n_inputs, std::size_t n_outputs, Range inputs,
                   Range outputs, bool wants_backward, Numbers &numbers, Log &log) {
  const std::size_t P = k.panel;
  const auto w = numbers.exact<T>(n_inputs * n_outputs);
  const Panels forward_at{P, n_inputs, n_outputs, n_inputs * P};
  const Panels backward_at{P, n_outputs, n_inputs, n_outputs * P};
  Output<T> forward(forward_at.size()), backward(backward_at.size());
  const auto whole_panels = [&](std::size_t end) { return (end + P - 1) / P * P; };
  for (std::size_t i = inputs.begin; i < inputs.end; ++i)
    for (std::size_t j = outputs.begin; j < whole_panels(outputs.end); ++j)
      if (j < outputs.end)
        forward.want(forward_at.at(i, j), static_cast<double>(w[i * n_outputs + j]));
      else
        forward.ignore(forward_at.at(i, j));
  for (std::size_t j = outputs.begin; wants_backward && j < outputs.end; ++j)
    for (std::size_t i = inputs.begin; i < whole_panels(inputs.end); ++i)
      if (i < inputs.end)
        backward.want(backward_at.at(j, i), static_cast<double>(w[i * n_outputs + j]));
      else
        backward.ignore(backward_at.at(j, i));
  k.pack({.w = w.data(),
          .n_inputs = n_inputs,
          .n_outputs = n_outputs,
          .inputs = inputs,
          .outputs = outputs,
          .forward = forward.data(),
          .backward = wants_backward ? backward.data() : nullptr});
  const std::string what = say("of w", n_inputs, "by", n_outputs, "rows", inputs.begin, "to",
                               inputs.end, "columns", outputs.begin, "to", outputs.end);
  forward.check(log, "pack forward " + what);
  backward.check(log, "pack backward " + what);
}

} // namespace

template <class T> void check_pack(const Kernels<T> &k, Log &log) {
  const std::size_t P = k.panel;
  Numbers numbers;
  const std::size_t sizes[] = {1, P / 2 - 1, P / 2, P / 2 + 1, P - 1, P, P + 1, 2 * P + P / 2 + 1};
  for (const std::size_t inputs : sizes)
    for (const std::size_t outputs : sizes)
      for (const bool backward : {false, true})
        check_pack_of(k, inputs, outputs, {0, inputs}, {0, outputs}, backward, numbers, log);
  const std::size_t n = 3 * P + 1;
  check_pack_of(k, n, n, {P, 2 * P}, {2 * P, 3 * P}, true, numbers, log);
  check_pack_of(k, n, n, {3 * P, n}, {P, n}, true, numbers, log);
}

template void check_pack(const Kernels<float> &, Log &);
template void check_pack(const Kernels<double> &, Log &);

} // namespace culpa::tests
