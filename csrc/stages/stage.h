// A kind of stage is one struct of functions, as an instruction set is one of kernels. The walk
// (walk.h) calls them for the threads of a crew, each for its rows, or for its panels of columns.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include "network/network.h"
#include "network/parameters.h"
#include "network/workspace.h"
#include "stages/dropout.h"
#include "stages/plan.h"
#include "threads/team.h"

namespace culpa {

// One thread's walk through a network.
template <class T> struct Pass {
  const Network &network;
  const Parameters<T> &parameters;
  Workspace<T> &space;
  const Crew &crew;
  Split split = Split::rows;
  // Where the inputs are asked about: the weight of the lowest dense layer, transposed.
  const T *lowest_weight = nullptr;

  const Stage &stage(std::size_t s) const { return network.stages[s]; }
  Matrix<T> x(std::size_t s) const { return space.hidden[s]; }
  Matrix<T> h(std::size_t s) const { return space.hidden[s + 1]; }
  // Array number i of a stage, in panels.
  const T *array(std::size_t s, std::size_t i) const {
    return parameters.forward(stage(s).first_array + i);
  }
  bool reads_entries(std::size_t s) const { return space.sparse && network.keeps_sparse(s); }
};

// One factor of the dot product of two examples' gradients: (left . left' + 1) (right . right'),
// or without a left side right . right'.
template <class T> struct Term {
  Matrix<T> left, right;
};

template <class T> struct StageKind {
  // Whether forward and backward apply relu and its mask themselves, while a tile is in registers.
  bool fuses_relu;
  // Whether each row's columns depend on each other, so that threads cannot share them out.
  bool whole_rows;
  // z of some rows and panels, or what relu makes of it, from value s.
  void (*forward)(const Pass<T> &, std::size_t s, Matrix<T> z, kernels::End end, Range rows,
                  Range panels);
  // dL_i/dx from delta[s], for some rows and some panels of x; mask: as Product's, or nullptr.
  void (*backward)(const Pass<T> &, std::size_t s, Matrix<T> below, const T *mask, Range rows,
                   Range panels);
  // Once delta[s] is there: what the gradient and norms are made of beside it. nullptr: nothing.
  void (*multiply)(const Pass<T> &, std::size_t s, Range rows, Range panels);
  // The gradient of one unit over the block's rows, or added to what lies there. nullptr: no
  // arrays.
  void (*gradient)(const Network &, const Workspace<T> &, const Unit &, std::size_t rows,
                   T *gradient, const Place &place, bool accumulate);
  // Adds the squared norms of these rows' own gradients.
  void (*square_norms)(const Network &, Workspace<T> &, std::size_t s, Range rows, double *sums);
  // dz from dx, the derivatives of both in one direction; skip: that of the value that is added.
  void (*tangent)(const Pass<T> &, std::size_t s, Matrix<T> dx, Matrix<T> skip, Matrix<T> dz,
                  Range rows, Range panels);
  // What dot products of examples' gradients consist of, in this order.
  void (*terms)(const Workspace<T> &, std::size_t s, std::vector<Term<T>> &terms);
};

// kinds.cpp has the table.
template <class T> const StageKind<T> &stage_kind(Kind kind);

template <class T> void copy_rows(Matrix<T> from, Matrix<T> to, Range rows, Range panels) {
  const std::size_t panel = kernels::active<T>().panel, n = (rows.end - rows.begin) * panel;
  for (std::size_t p = panels.begin; p < panels.end; ++p)
    std::copy_n(from.data + p * from.stride + rows.begin * panel, n,
                to.data + p * to.stride + rows.begin * panel);
}

// to = from * the first array of a stage, a vector
template <class T>
void times_vector(const Pass<T> &pass, std::size_t s, Matrix<T> from, Matrix<T> to, Range rows,
                  Range panels) {
  kernels::active<T>().affine({.x = from.data,
                               .x_stride = from.stride,
                               .factor = pass.array(s, 0),
                               .shift = nullptr,
                               .y = to.data,
                               .y_stride = to.stride},
                              rows, panels);
}

// products = delta * what the first vector multiplies
template <class T>
void fill_products(const Pass<T> &pass, std::size_t s, Matrix<T> multiplied, Range rows,
                   Range panels) {
  const auto &k = kernels::active<T>();
  const Matrix<T> products = pass.space.products[s];
  const std::size_t begin = rows.begin * k.panel, n = (rows.end - rows.begin) * k.panel;
  copy_rows(pass.space.delta[s], products, rows, panels);
  for (std::size_t p = panels.begin; p < panels.end; ++p)
    k.multiply(products.data + p * products.stride + begin,
               multiplied.data + p * multiplied.stride + begin, n);
}

} // namespace culpa
