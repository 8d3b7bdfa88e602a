// loss: every kind, against labels and rows of targets, with and without the derivative.
#include <algorithm>

#include "check.h"

namespace culpa::tests {
namespace {

// Of one output, or of a row; `size`: how great the numbers on the way were.
struct Answer {
  double loss = 0, slope = 0, score = 0, size = 0;
};

Answer of_output(const LossFunction &loss, double z, double t) {
  const double d = z - t, size = 1 + std::abs(z) + std::abs(t) + std::abs(z * t);
  const double sign = d > 0 ? 1 : d < 0 ? -1 : 0;
  switch (loss.kind) {
  case Loss::binary_cross_entropy:
    return {std::max(z, 0.0) - z * t + std::log1p(std::exp(-std::abs(z))),
            1 / (1 + std::exp(-z)) - t, (z > 0) == (t > 0.5) ? 1.0 : 0.0, size};
  case Loss::mse:
    return {d * d, 2 * d, d * d, size + d * d};
  case Loss::mae:
    return {std::abs(d), sign, d * d, size + d * d};
  case Loss::huber:
    if (std::abs(d) > loss.delta)
      return {loss.delta * (std::abs(d) - loss.delta / 2), sign * loss.delta, d * d, size + d * d};
    return {d * d / 2, d, d * d, size + d * d};
  case Loss::poisson: {
    const double mean = std::exp(z), error = mean - t;
    return {mean - z * t, error, error * error, size + mean + mean * mean};
  }
  case Loss::gamma: {
    const double mean = std::exp(z), error = mean - t, ratio = t / mean;
    return {z + ratio, 1 - ratio, error * error, size + ratio + mean * mean};
  }
  case Loss::tweedie: {
    const double p = loss.power;
    if (p == 1 || p == 2)
      return of_output({.kind = p == 1 ? Loss::poisson : Loss::gamma}, z, t);
    const double mean = std::exp(z), error = mean - t;
    const double kappa = std::pow(mean, 2 - p) / (2 - p), theta = std::pow(mean, 1 - p) / (1 - p);
    return {kappa - t * theta, std::pow(mean, 2 - p) - t * std::pow(mean, 1 - p), error * error,
            size + std::abs(kappa) + std::abs(t * theta) + mean * mean};
  }
  case Loss::quantile:
    return {std::max(-loss.q * d, (1 - loss.q) * d),
            d > 0   ? 1 - loss.q
            : d < 0 ? -loss.q
                    : 0,
            d * d, size + d * d};
  case Loss::cross_entropy:
    break;
  }
  std::abort();
}

struct LossCase {
  LossFunction loss;
  const char *name;
  bool labels = false;
};

const LossCase cases[] = {
    {{.kind = Loss::cross_entropy}, "cross_entropy", true},
    {{.kind = Loss::cross_entropy, .label_smoothing = 0.1}, "smoothed cross_entropy", true},
    {{.kind = Loss::cross_entropy}, "cross_entropy"},
    {{.kind = Loss::cross_entropy, .label_smoothing = 0.3}, "smoothed cross_entropy"},
    {{.kind = Loss::binary_cross_entropy}, "binary_cross_entropy"},
    {{.kind = Loss::mse}, "mse"},
    {{.kind = Loss::mae}, "mae"},
    {{.kind = Loss::huber}, "huber"},
    {{.kind = Loss::huber, .delta = 0.25}, "huber 0.25"},
    {{.kind = Loss::poisson}, "poisson"},
    {{.kind = Loss::gamma}, "gamma"},
    {{.kind = Loss::tweedie}, "tweedie"},
    {{.kind = Loss::tweedie, .power = 1}, "tweedie 1"},
    {{.kind = Loss::tweedie, .power = 1.1}, "tweedie 1.1"},
    {{.kind = Loss::tweedie, .power = 2}, "tweedie 2"},
    {{.kind = Loss::tweedie, .power = 3}, "tweedie 3"},
    {{.kind = Loss::quantile}, "quantile"},
    {{.kind = Loss::quantile, .q = 0.9}, "quantile 0.9"},
};

// A batch: what the last layer gave, and what it should have given.
template <class T> struct Batch {
  Panels at;
  std::vector<T> y, targets;
  std::vector<std::int32_t> labels;
  std::vector<double> score_scale;

  Batch(std::size_t width, std::size_t rows, std::size_t outputs, const LossFunction &loss)
      : at{width, rows, outputs}, targets(rows * outputs), labels(rows), score_scale(outputs) {
    Numbers numbers;
    // Multiples of 1/32: some outputs are equal, and some hit their target. Every fifth row of
    // logits is so far apart that its exponentials vanish.
    const Loss kind = loss.kind;
    const bool logits = kind == Loss::cross_entropy || kind == Loss::binary_cross_entropy;
    y = at.template fill<T>([&](std::size_t r, std::size_t) {
      return numbers.exact() * (logits && r % 5 == 4 ? 300 : 1);
    });
    for (std::size_t r = 0; r < rows; ++r) {
      double total = 0;
      for (std::size_t c = 0; c < outputs; ++c) {
        double t = numbers.exact();
        if (logits)
          t = std::abs(t) / 2;
        else if (kind == Loss::poisson)
          t = std::floor(std::abs(t) * 3);
        else if (kind == Loss::gamma || (kind == Loss::tweedie && loss.power >= 2))
          t = std::abs(t) + 1. / 32;
        else if (kind == Loss::tweedie)
          t = std::max(t, 0.0);
        else if (numbers.bits() % 8 == 0)
          t = static_cast<double>(y[at.at(r, c)]);
        total += t;
        targets[r * outputs + c] = static_cast<T>(t);
      }
      // Probabilities; every third row adds up to 1.5, and has its answer too.
      for (std::size_t c = 0; kind == Loss::cross_entropy && total > 0 && c < outputs; ++c)
        targets[r * outputs + c] *= static_cast<T>((r % 3 ? 1 : 1.5) / total);
      labels[r] = static_cast<std::int32_t>(numbers.bits() % outputs);
    }
    for (double &scale : score_scale)
      scale = numbers.uniform(0.5, 2);
  }
  double z(std::size_t r, std::size_t c) const { return static_cast<double>(y[at.at(r, c)]); }
};

// Softmax and cross-entropy of a row; `slopes` receives its derivative. The target of class k is
// (1 - s) t + s / K for a label smoothing of s.
template <class T>
Answer of_classes(const Batch<T> &batch, const LossCase &one, double smoothing, std::size_t r,
                  std::vector<double> &slopes) {
  const std::size_t K = batch.at.columns;
  const auto given = [&](std::size_t c) {
    return one.labels ? (static_cast<std::size_t>(batch.labels[r]) == c ? 1.0 : 0.0)
                      : static_cast<double>(batch.targets[r * K + c]);
  };
  std::size_t guess = 0, truth = 0; // of equals the first
  double lowest = batch.z(r, 0);
  for (std::size_t c = 0; c < K; ++c) {
    guess = batch.z(r, c) > batch.z(r, guess) ? c : guess;
    truth = given(c) > given(truth) ? c : truth;
    lowest = std::min(lowest, batch.z(r, c));
  }
  const double greatest = batch.z(r, guess);
  double sum = 0, weight = 0, product = 0;
  for (std::size_t c = 0; c < K; ++c) {
    const double t = (1 - smoothing) * given(c) + smoothing / static_cast<double>(K);
    sum += std::exp(batch.z(r, c) - greatest);
    weight += t;
    product += t * (greatest - batch.z(r, c));
  }
  for (std::size_t c = 0; c < K; ++c)
    slopes[c] = weight * std::exp(batch.z(r, c) - greatest) / sum -
                ((1 - smoothing) * given(c) + smoothing / static_cast<double>(K));
  return {product + weight * std::log(sum), 0, guess == truth ? 1.0 : 0.0,
          1 + greatest - lowest + std::log(sum)};
}

template <class T>
Answer of_row(const Batch<T> &batch, const LossCase &one, bool with_score, std::size_t r,
              std::vector<double> &slopes) {
  const LossFunction &loss = one.loss;
  if (loss.kind == Loss::cross_entropy)
    return of_classes(batch, one, loss.label_smoothing, r, slopes);
  Answer row;
  const auto outputs = static_cast<double>(batch.at.columns);
  for (std::size_t c = 0; c < batch.at.columns; ++c) {
    const auto t = static_cast<double>(batch.targets[r * batch.at.columns + c]);
    const Answer each = of_output(loss, batch.z(r, c), t);
    slopes[c] = each.slope / outputs; // the loss is the mean over the outputs
    row.loss += each.loss / outputs;
    row.size += each.size / outputs;
    if (loss.kind == Loss::binary_cross_entropy)
      row.score += each.score / outputs;
    else if (with_score)
      row.score += each.score * batch.score_scale[c];
  }
  return row;
}

template <class T>
void check_loss(const Kernels<T> &k, const LossCase &one, std::size_t outputs, Range rows,
                bool with_delta, bool with_score, Log &log) {
  const std::size_t n_rows = rows.end + 1;
  const Batch<T> batch(k.panel, n_rows, outputs, one.loss);
  const Panels &at = batch.at;
  Output<T> delta(at.size()), scratch(at.count() * k.panel * k.panel);
  Output<double> losses(n_rows), scores(n_rows);
  for (std::size_t i = 0; i < at.count() * k.panel * k.panel; ++i)
    scratch.ignore(i);
  std::vector<double> slopes(outputs);
  for (std::size_t r = rows.begin; r < rows.end; ++r) {
    const Answer answer = of_row(batch, one, with_score, r, slopes);
    losses.want(r, answer.loss, 8 * ulp<T> * answer.size);
    scores.want(r, answer.score, 8 * ulp<T> * answer.size * answer.score);
    for (std::size_t c = 0; with_delta && c < at.count() * k.panel; ++c)
      if (c < outputs)
        delta.want(at.at(r, c), slopes[c], 8 * ulp<T> * (1 + std::abs(slopes[c])));
      else
        delta.ignore(at.at(r, c));
  }
  k.loss({.loss = one.loss,
          .y = batch.y.data(),
          .stride = at.stride,
          .rows = rows,
          .outputs = outputs,
          .labels = one.labels ? batch.labels.data() : nullptr,
          .targets = one.labels ? nullptr : batch.targets.data(),
          .delta = with_delta ? delta.data() : nullptr,
          .losses = losses.data(),
          .scores = scores.data(),
          .score_scale = with_score ? batch.score_scale.data() : nullptr,
          .scratch = scratch.data()});
  const std::string what =
      say(one.name, one.labels ? "labels" : "targets", "of", outputs, "outputs, rows", rows.begin,
          "to", rows.end, "with delta", with_delta, "with score", with_score);
  losses.check(log, "loss " + what);
  scores.check(log, "score of " + what);
  delta.check(log, "delta of " + what);
  scratch.check(log, "scratch of " + what);
}

// The logits of one example at the ends of the type's range: each has its loss, which may be
// infinite, and none is NaN. Its derivative is exact.
template <class T> void check_the_ends(const Kernels<T> &k, Log &log) {
  using Limits = std::numeric_limits<T>;
  const double most = static_cast<double>(Limits::max()), infinite = Limits::infinity();
  struct Case {
    Loss kind;
    double z[3], t[3], loss, slope[3], power = 1.5;
  };
  const Case ends[] = {
      {Loss::cross_entropy, {most, -most, 0}, {1, 0, 0}, 0, {0, 0, 0}},
      {Loss::cross_entropy, {most, -most, 0}, {0, 1, 0}, infinite, {1, -1, 0}},
      {Loss::cross_entropy, {most / 4, -most / 4, 0}, {0, 1, 0}, most / 2, {1, -1, 0}},
      {Loss::cross_entropy, {-most, most, most}, {0, 0, 1}, std::log(2.0), {0, 0.5, -0.5}},
      {Loss::cross_entropy, {-infinite, 0, 0}, {0, 0, 1}, std::log(2.0), {0, 0.5, -0.5}},
      {Loss::binary_cross_entropy, {most, -most, most}, {1, 0, 1}, 0, {0, 0, 0}},
      {Loss::binary_cross_entropy, {-most / 2, 0, 0}, {1, 0.5, 0.5}, most / 6, {-1. / 3, 0, 0}},
      {Loss::mse, {most, 0, 0}, {-most, 0, 0}, infinite, {infinite, 0, 0}},
      {Loss::mae, {most, 0, 0}, {-most, 0, 0}, infinite, {1. / 3, 0, 0}},
      {Loss::huber, {most, 0, 0}, {-most, 0, 0}, infinite, {1. / 3, 0, 0}},
      {Loss::quantile, {most, 0, 0}, {-most, 0, 0}, infinite, {0.5 / 3, 0, 0}},
      {Loss::poisson, {most, 0, 0}, {10, 1, 1}, infinite, {infinite, 0, 0}},
      {Loss::poisson, {-most / 4, 0, 0}, {2, 1, 1}, most / 6, {-2. / 3, 0, 0}},
      {Loss::gamma, {most / 4, 0, 0}, {10, 1, 1}, most / 12, {1. / 3, 0, 0}},
      {Loss::gamma, {-most, 0, 0}, {10, 1, 1}, infinite, {-infinite, 0, 0}},
      {Loss::gamma, {-infinite, 0, 0}, {10, 1, 1}, infinite, {-infinite, 0, 0}},
      {Loss::tweedie, {most, 0, 0}, {10, 1, 1}, infinite, {infinite, 0, 0}},
      {Loss::tweedie, {-most, 0, 0}, {0, 1, 1}, 8. / 3, {0, 0, 0}},
      {Loss::tweedie, {-infinite, 0, 0}, {0, 1, 1}, 8. / 3, {0, 0, 0}},
      {Loss::tweedie, {-most, 0, 0}, {1, 1, 1}, infinite, {-infinite, 0, 0}},
      {Loss::tweedie, {-most, 0, 0}, {1, 1, 1}, infinite, {-infinite, 0, 0}, 3},
      {Loss::tweedie, {most, 0, 0}, {1, 1, 1}, -1. / 3, {0, 0, 0}, 3},
  };
  for (const Case &one : ends)
    for (const bool labels : {false, true}) {
      if (labels && one.kind != Loss::cross_entropy)
        continue;
      const Panels at{k.panel, 1, 3};
      const auto y = at.fill<T>([&](std::size_t, std::size_t c) { return one.z[c]; });
      std::vector<T> t(3);
      std::copy_n(one.t, 3, t.begin());
      const std::int32_t label = one.t[0] == 1 ? 0 : one.t[1] == 1 ? 1 : 2;
      std::vector<T> delta(at.size()), scratch(k.panel * k.panel);
      double loss = 0, score = 0;
      k.loss({.loss = {.kind = one.kind, .power = one.power},
              .y = y.data(),
              .stride = at.stride,
              .rows = {0, 1},
              .outputs = 3,
              .labels = labels ? &label : nullptr,
              .targets = t.data(),
              .delta = delta.data(),
              .losses = &loss,
              .scores = &score,
              .score_scale = nullptr,
              .scratch = scratch.data()});
      const std::string what = say("loss", static_cast<int>(one.kind), "of", one.z[0], one.z[1],
                                   one.z[2], labels ? "labels" : "targets");
      log.expect(loss == one.loss ||
                     std::abs(loss - one.loss) <= 8 * ulp<T> * (1 + std::abs(one.loss)),
                 say(what, "is", loss, "instead of", one.loss));
      for (std::size_t c = 0; c < 3; ++c) {
        const auto slope = static_cast<double>(delta[at.at(0, c)]);
        log.expect(slope == one.slope[c] || std::abs(slope - one.slope[c]) <= 8 * ulp<T>,
                   say("slope", c, "of", what, "is", slope, "instead of", one.slope[c]));
      }
    }
}

} // namespace

template <class T> void check_losses(const Kernels<T> &k, Log &log) {
  check_the_ends(k, log);
  const std::size_t P = k.panel;
  for (const LossCase &one : cases)
    for (const std::size_t outputs :
         {std::size_t{1}, std::size_t{2}, P / 2, P / 2 + 1, P - 1, P, P + 1, 2 * P, 3 * P + 3})
      for (const bool with_delta : {false, true})
        for (const bool with_score : {false, true}) {
          check_loss(k, one, outputs, {0, 0}, with_delta, with_score, log);
          check_loss(k, one, outputs, {0, 5}, with_delta, with_score, log);
          check_loss(k, one, outputs, {2, 69}, with_delta, with_score, log);
        }
}

template void check_losses(const Kernels<float> &, Log &);
template void check_losses(const Kernels<double> &, Log &);

} // namespace culpa::tests
