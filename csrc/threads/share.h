// Blocks of work handed to threads one after the other, until none is left or a signal says stop.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>

#include "threads/team.h"

namespace culpa {

// each(rows, thread, crew) for every block of `height` rows, in any order; `crew` is of that thread
// alone. Long blocks ask crew.going() now and then. Gives false where it was stopped.
template <class Each>
bool share_out(std::size_t threads, std::size_t rows, std::size_t height, Interrupt interrupt,
               Each each) {
  const std::size_t blocks = (rows + height - 1) / height;
  std::atomic<std::size_t> next{0};
  Poll poll(interrupt);
  run(threads, [&](const Crew &crew) {
    const Crew alone = crew.alone(poll);
    for (std::size_t i = 0; (i = next.fetch_add(1)) < blocks && alone.going();)
      each(Range{i * height, std::min((i + 1) * height, rows)}, crew.index, alone);
  });
  return !poll.stopped();
}

} // namespace culpa
