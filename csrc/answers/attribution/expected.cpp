// Expected gradients (Erion, Janizek, Sturmfels, Lundberg & Lee 2021, "Improving performance of
// deep learning models with axiomatic attribution priors and expected gradients"): the expectation
// of (x - baseline) df/dx over baselines of a background set and points on the paths from them, as
// the mean of draws. Each row has a stream of its own: a baseline, then a point, draw after draw.
#include "answers/attribution/attribution.h"

namespace culpa {

template <class T> void start_draws(const AttributeJob &job, AttributeSpace<T> &space, Range rows) {
  space.streams.clear(); // its capacity stays
  for (std::size_t i = rows.begin; i < rows.end; ++i)
    space.streams.emplace_back(job.seed, Purpose::attribution, i >> 32U, 0, i);
}

template <class T>
void draw_pairs(const AttributeJob &job, AttributeSpace<T> &space, std::size_t tile,
                std::size_t count) {
  for (std::size_t t = 0; t < tile; ++t)
    for (std::size_t r = 0; r < count; ++r) {
      Sequence &stream = space.streams[r];
      space.drawn[t * count + r] = static_cast<std::int64_t>(stream.below(job.background.rows));
      space.points[t * count + r] = stream.uniform();
    }
}

#define CULPA_INSTANTIATE(T)                                                                       \
  template void start_draws(const AttributeJob &, AttributeSpace<T> &, Range);                     \
  template void draw_pairs(const AttributeJob &, AttributeSpace<T> &, std::size_t, std::size_t);
CULPA_INSTANTIATE(float)
CULPA_INSTANTIATE(double)

} // namespace culpa
