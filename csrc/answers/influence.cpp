// Influence of training examples (TracIn: Pruthi, Liu, Sundararajan & Kale 2020, "Estimating
// training data influence by tracing gradient descent"). Each stage says which terms the dot
// product of two examples' gradients has (stage.h), so of dense layers
//   g_i . g_j = sum over layers (x_i . x_j + 1) (delta_i . delta_j):
// two products of rows by rows for each term, and no example's gradient is ever built. The test
// examples are walked once and kept as the products want their right side, packed; then the
// training examples stream by, and each tile of scores is used up while it is in the caches.
#include "answers/influence.h"

#include <algorithm>
#include <atomic>
#include <limits>
#include <memory>
#include <mutex>

#include "answers/ranking.h"
#include "stages/walk.h"
#include "threads/share.h"

namespace culpa {

using kernels::active;

namespace {

// Panels of test examples in a tile.
constexpr std::size_t tile_panels = 4;

template <class T>
std::vector<Term<T>> terms_of(const Network &network, const Workspace<T> &space) {
  std::vector<Term<T>> terms;
  for (std::size_t s = 0; s < network.stages.size(); ++s)
    if (const auto add = stage_kind<T>(network.stages[s].kind).terms)
      add(space, s, terms);
  return terms;
}

// Of both sides of all terms.
template <class T> std::size_t columns(const Network &network) {
  const Workspace<T> smallest(network, {});
  std::size_t count = 0;
  for (const Term<T> &term : terms_of(network, smallest))
    count += term.left.columns + term.right.columns;
  return count;
}

// Training examples that one thread carries at a time, and test examples that are kept at a time.
// Wide networks and many of them take fewer, so that memory stays bounded. More tests mean that the
// training examples are walked less often. No choice here shows in the bits.
template <class T> std::size_t train_height(const InfluenceJob<T> &job) {
  std::size_t width = 0;
  for (const Model<T> *model : job.models)
    width += columns<T>(model->network);
  // 504 rows are whole tiles of the products: 36 x 14 of AVX-512, 84 x 6 of the others. The tests
  // come from memory once for each block: of 126 rows it takes a tenth longer, of 252 a twentieth
  // (784-256-128-10, Xeon with AVX-512).
  return std::clamp<std::size_t>((std::size_t{8} << 20U) / (width * sizeof(T)), 14, 504);
}
template <class T> std::size_t test_height(const InfluenceJob<T> &job, std::size_t top) {
  std::size_t bytes = 2 * top * (sizeof(T) + sizeof(std::int64_t));
  for (const Model<T> *model : job.models)
    bytes += columns<T>(model->network) * sizeof(T);
  const std::size_t panel = active<T>().panel;
  return std::max((std::size_t{128} << 20U) / bytes / panel, tile_panels) * panel;
}

// Test examples of one model, as the right sides of products: for each term left and then right,
// transposed and in panels.
template <class T> struct Packed {
  Packed(const Network &network, std::size_t tests)
      : values(columns<T>(network) * panels(tests, active<T>().panel) * active<T>().panel) {
    const std::size_t padded = panels(tests, active<T>().panel) * active<T>().panel;
    const Workspace<T> smallest(network, {});
    T *end = values.data();
    for (const Term<T> &term : terms_of(network, smallest)) {
      left.push_back(end);
      right.push_back(end + term.left.columns * padded);
      end += (term.left.columns + term.right.columns) * padded;
    }
  }
  std::vector<T *> left, right;
  Buffer<T> values;
};

// Rows [0, rows) of panels become tests `first` (a whole panel) and on.
template <class T> void pack_rows(Matrix<T> from, std::size_t rows, std::size_t first, T *to) {
  const auto &k = active<T>();
  for (std::size_t r = 0; r < rows; r += k.panel) {
    T *panel = to + (first + r) * from.columns;
    for (std::size_t j = 0; j < from.columns; j += k.panel)
      k.pack({.w = from.data + j / k.panel * from.stride + r * k.panel,
              .n_inputs = k.panel,
              .n_outputs = k.panel,
              .inputs = {0, std::min(k.panel, rows - r)},
              .outputs = {0, std::min(k.panel, from.columns - j)},
              .forward = nullptr,
              .backward = panel + j * k.panel});
  }
}

// What a block of test examples is compared through.
template <class T> struct Tests {
  Tests(const InfluenceJob<T> &job, std::size_t height, std::size_t top)
      : highest(height, top, 1), lowest(height, top, -1),
        guards(std::make_unique<std::mutex[]>(panels(height, active<T>().panel))) {
    for (const Model<T> *model : job.models)
      packed.emplace_back(model->network, height);
  }
  Range rows{0, 0};              // of the source
  std::vector<Packed<T>> packed; // per model
  Ranking<T> highest, lowest;
  std::unique_ptr<std::mutex[]> guards; // per panel of the rankings
};

// What one thread works in.
template <class T> struct Space {
  Space(const InfluenceJob<T> &job, std::size_t height)
      : stride(height * active<T>().panel), storage(3 * tile_panels * stride),
        ones(tile_panels * active<T>().panel) {
    for (const Model<T> *model : job.models) {
      walks.emplace_back(model->network, Room{.rows = height});
      terms.push_back(terms_of(model->network, walks.back()));
    }
    std::fill_n(ones.data(), ones.size(), T(1));
    left = storage.data();
    right = left + tile_panels * stride;
    sum = right + tile_panels * stride;
  }
  std::vector<Workspace<T>> walks;         // per model
  std::vector<std::vector<Term<T>>> terms; // per model
  std::size_t stride; // of the tiles: panels of tests, rows of training examples
  Buffer<T> storage, ones;
  T *left, *right, *sum; // of a term, and scores
};

// Examples [begin, end) through all models; gives a row that is not finite, or no_row.
template <class T>
std::size_t walk_examples(const InfluenceJob<T> &job, const ExamplesView &examples, Range positions,
                          Space<T> &space, const Crew &alone) {
  std::atomic<std::size_t> bad{no_row};
  const Block block{examples, positions, nullptr};
  for (std::size_t m = 0; m < job.models.size(); ++m) {
    const Model<T> &model = *job.models[m];
    const Pass<T> pass{model.network, model.parameters, space.walks[m], alone};
    forward(pass, block, bad);
    backward(pass, block.rows(), model.network.lowest);
  }
  return bad.load();
}

// Scores of some panels of tests and the first rows of the walks, into space.sum.
template <class T>
void score_tile(const InfluenceJob<T> &job, const Tests<T> &tests, Range some_panels,
                std::size_t rows, Space<T> &space) {
  const auto &k = active<T>();
  const std::size_t count = some_panels.end - some_panels.begin;
  const std::size_t left = tests.rows.end - tests.rows.begin - some_panels.begin * k.panel;
  const auto product = [&](Matrix<T> x, const T *packed, const T *bias, T *to) {
    k.product({.x = x.data,
               .x_stride = x.stride,
               .w = packed + some_panels.begin * k.panel * x.columns,
               .bias = bias,
               .y = to,
               .y_stride = space.stride,
               .inputs = x.columns,
               .outputs = left},
              {0, rows}, {0, count});
  };
  for (std::size_t m = 0; m < job.models.size(); ++m) {
    const auto factor = static_cast<T>(job.factors[m]);
    for (std::size_t t = 0; t < space.terms[m].size(); ++t) {
      const Term<T> &term = space.terms[m][t];
      const bool whole = term.left.data != nullptr; // else the left factor is 1
      if (whole)
        product(term.left, tests.packed[m].left[t], space.ones.data(), space.left);
      product(term.right, tests.packed[m].right[t], nullptr, space.right);
      const bool first = m == 0 && t == 0;
      for (std::size_t p = 0; p < count; ++p) {
        const T *left = space.left + p * space.stride, *right = space.right + p * space.stride;
        T *sum = space.sum + p * space.stride;
        const std::size_t n = rows * k.panel;
        for (std::size_t i = 0; whole && first && i < n; ++i)
          sum[i] = factor * (left[i] * right[i]);
        for (std::size_t i = 0; whole && !first && i < n; ++i)
          sum[i] += factor * (left[i] * right[i]);
        for (std::size_t i = 0; !whole && i < n; ++i)
          sum[i] = (first ? T(0) : sum[i]) + factor * right[i];
      }
    }
  }
}

// One panel of scores, [training example][test], into the rows of the tests.
template <class T>
void write_scores(const T *sum, Range trains, Range tests, std::size_t n_train, T *scores) {
  const auto panel = active<T>().panel;
  for (std::size_t j = tests.begin; j < tests.end; ++j) {
    const T *from = sum + (j - tests.begin);
    T *to = scores + j * n_train;
    for (std::size_t i = trains.begin; i < trains.end; ++i, from += panel)
      to[i] = *from;
  }
}

// One panel of scores against the first that are known; `row`: the panel's first in the rankings.
template <class T>
void rank_scores(const T *sum, Range trains, std::size_t row, std::size_t count, Tests<T> &tests) {
  constexpr std::size_t most = 64; // no panel is wider
  const auto panel = active<T>().panel;
  T high[most], low[most];                 // what a score must reach to count
  const auto limits = [&](std::size_t j) { // NaN: whatever comes
    const T any = std::numeric_limits<T>::quiet_NaN();
    high[j] = tests.highest.full(row + j) ? tests.highest.last(row + j) : any;
    low[j] = tests.lowest.full(row + j) ? tests.lowest.last(row + j) : any;
  };
  for (std::size_t j = 0; j < count; ++j)
    limits(j);
  for (std::size_t i = trains.begin; i < trains.end; ++i, sum += panel) {
    bool counts = false;
    for (std::size_t j = 0; j < count; ++j) // without a branch: hardly any does
      counts |= !((sum[j] < high[j]) & (sum[j] > low[j]));
    if (!counts)
      continue;
    for (std::size_t j = 0; j < count; ++j)
      if (!(sum[j] < high[j] && sum[j] > low[j])) {
        const Candidate<T> one{sum[j], static_cast<std::int64_t>(i)};
        tests.highest.offer_candidate(row + j, one);
        tests.lowest.offer_candidate(row + j, one);
        limits(j);
      }
  }
}

// Training examples [begin, end) against all tests of the block.
template <class T>
std::size_t compare_with_tests(const InfluenceJob<T> &job, Tests<T> &tests, Range trains,
                               Space<T> &space, const InfluenceOut<T> &out, const Crew &crew) {
  const auto panel = active<T>().panel;
  const std::size_t bad = walk_examples(job, job.train, trains, space, crew);
  const std::size_t count = tests.rows.end - tests.rows.begin, across = panels(count, panel);
  for (std::size_t p = 0; p < across && crew.going(); p += tile_panels) {
    const Range some{p, std::min(p + tile_panels, across)};
    score_tile(job, tests, some, trains.end - trains.begin, space);
    for (std::size_t q = some.begin; q < some.end; ++q) {
      const T *sum = space.sum + (q - some.begin) * space.stride;
      const Range mine{q * panel, std::min((q + 1) * panel, count)};
      if (out.scores) {
        const std::size_t first = tests.rows.begin;
        write_scores(sum, trains, {first + mine.begin, first + mine.end}, job.train.x.rows,
                     out.scores);
      } else {
        const std::scoped_lock lock(tests.guards[q]);
        rank_scores(sum, trains, mine.begin, mine.end - mine.begin, tests);
      }
    }
  }
  return bad;
}

} // namespace

template <class T>
InfluenceResult influence(const InfluenceJob<T> &job, const InfluenceOut<T> &out,
                          std::size_t threads, Interrupt interrupt) {
  const auto panel = active<T>().panel;
  const std::size_t n_train = job.train.x.rows, n_test = job.test.x.rows;
  if (n_train == 0 || n_test == 0)
    return {};
  const std::size_t tests_at_once = std::min(test_height(job, out.top), n_test);
  // Two blocks or more for each thread; tests are packed by whole panels.
  const auto cut = [&](std::size_t rows, std::size_t whole) {
    const std::size_t most = train_height(job) / whole * whole;
    const std::size_t least = (rows + 2 * threads - 1) / (2 * threads);
    return std::clamp(panels(least, whole) * whole, whole, std::max(most, whole));
  };
  const std::size_t train_rows = cut(n_train, 1), test_rows = cut(tests_at_once, panel);
  const std::size_t blocks = (n_train + train_rows - 1) / train_rows;
  // A pair of examples costs two multiply-adds for each column; a walk is about three guesses.
  const Network &network = job.models.front()->network;
  const double guesses = 3 + static_cast<double>(columns<T>(network)) *
                                 static_cast<double>(std::min(n_test, tests_at_once)) /
                                 static_cast<double>(network.parameters);
  const Plan plan = make_plan(
      network, static_cast<std::size_t>(guesses * static_cast<double>(n_train * job.models.size())),
      Walk::predict, std::min(threads, blocks));

  std::vector<Space<T>> spaces;
  spaces.reserve(plan.threads);
  for (std::size_t i = 0; i < plan.threads; ++i)
    spaces.emplace_back(job, std::max(train_rows, test_rows));
  Tests<T> tests(job, tests_at_once, out.top);

  std::atomic<std::size_t> bad_train{no_row}, bad_test{no_row};
  bool going = true;
  for (std::size_t first = 0; first < n_test && going; first += tests_at_once) {
    tests.rows = {first, std::min(first + tests_at_once, n_test)};
    const std::size_t count = tests.rows.end - first;
    const auto pack = [&](Range mine, std::size_t thread, const Crew &crew) {
      Space<T> &space = spaces[thread];
      report_row(bad_test,
                 walk_examples(job, job.test, {first + mine.begin, first + mine.end}, space, crew));
      for (std::size_t m = 0; m < job.models.size(); ++m)
        for (std::size_t t = 0; t < space.terms[m].size(); ++t) {
          const Term<T> &term = space.terms[m][t];
          const std::size_t rows = mine.end - mine.begin;
          if (term.left.data)
            pack_rows(term.left, rows, mine.begin, tests.packed[m].left[t]);
          pack_rows(term.right, rows, mine.begin, tests.packed[m].right[t]);
        }
    };
    const auto stream = [&](Range mine, std::size_t thread, const Crew &crew) {
      report_row(bad_train, compare_with_tests(job, tests, mine, spaces[thread], out, crew));
    };
    going = share_out(plan.threads, count, test_rows, interrupt, pack) &&
            share_out(plan.threads, n_train, train_rows, interrupt, stream);
    for (std::size_t j = 0; out.top && going && j < count; ++j) {
      const std::size_t at = (first + j) * out.top;
      tests.highest.write_row(j, out.highest + at, out.highest_scores + at);
      tests.lowest.write_row(j, out.lowest + at, out.lowest_scores + at);
    }
  }
  return {bad_train.load(), bad_test.load()};
}

#define CULPA_INSTANTIATE(T)                                                                       \
  template InfluenceResult influence(const InfluenceJob<T> &, const InfluenceOut<T> &,             \
                                     std::size_t, Interrupt);
CULPA_INSTANTIATE(float)
CULPA_INSTANTIATE(double)

} // namespace culpa
