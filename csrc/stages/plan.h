// How a call's row phase is shared among threads.
#pragma once

#include <cstddef>

#include "network/network.h"
#include "view.h"

namespace culpa {

// Each thread takes some rows through all stages and waits for nobody; or, for few rows and wide
// layers, each takes some columns of every stage, with a barrier after each.
enum class Split { rows, columns };
constexpr Name<Split> split_names[] = {{Split::rows, "rows"}, {Split::columns, "columns"}};
static_assert(sizeof split_names / sizeof *split_names ==
              static_cast<std::size_t>(Split::columns) + 1);

struct Plan {
  std::size_t threads = 1;
  Split split = Split::rows;
};

enum class Walk { train, predict };

// The fastest plan for calls of so many rows (of x, where that may be sparse): what arithmetic
// costs, against barriers and against what moves between the cores' caches.
Plan make_plan(const Network &network, std::size_t rows, Walk walk, std::size_t most_threads,
               const Source *x = nullptr);

// For tests: every plan from now on; 0 threads: choose again.
void force_plan(std::size_t threads, Split split);

} // namespace culpa
