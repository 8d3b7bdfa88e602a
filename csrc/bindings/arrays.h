// From NumPy arrays to views, checked by hand: pybind11's own conversions copy silently or refuse
// with one opaque message.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "gil.h"
#include "view.h"

namespace culpa {

namespace py = pybind11;

inline std::string describe(const py::array &array) {
  return "shape " + py::str(array.attr("shape")).cast<std::string>() + " and dtype " +
         py::str(array.dtype()).cast<std::string>();
}

inline bool is_native(const py::array &array) {
  return array.dtype().attr("isnative").cast<bool>();
}

inline std::optional<DType> dtype_of(const py::array &array) {
  const char kind = array.dtype().kind();
  const auto size = static_cast<std::size_t>(array.itemsize());
  if (!is_native(array))
    return std::nullopt;
  if (kind == 'b' || (kind == 'u' && size == 1))
    return DType::u8;
  if (kind == 'u' && size <= 8)
    return size == 2 ? DType::u16 : size == 4 ? DType::u32 : DType::u64;
  if (kind == 'i' && size <= 8)
    return size == 1 ? DType::i8 : size == 2 ? DType::i16 : size == 4 ? DType::i32 : DType::i64;
  if (kind == 'f' && size <= 8)
    return size == 2 ? DType::f16 : size == 4 ? DType::f32 : DType::f64;
  return std::nullopt;
}

// Rows of numbers, (n, columns) of any real dtype and strides. Nothing is copied.
inline Source source(const py::array &array, const char *name, std::size_t columns) {
  const std::optional<DType> dtype = dtype_of(array);
  if (!dtype)
    throw py::type_error(std::string(name) + ": expected booleans, integers or floats of at most " +
                         "64 bits in native byte order, got " + describe(array) +
                         "; convert it with .astype(\"float32\")");
  if (array.ndim() != 2 || static_cast<std::size_t>(array.shape(1)) != columns)
    throw py::value_error(std::string(name) + ": expected shape (n, " + std::to_string(columns) +
                          "), got " + describe(array) + "; reshape it");
  return {.data = array.data(),
          .dtype = *dtype,
          .rows = static_cast<std::size_t>(array.shape(0)),
          .columns = columns,
          .row_stride = static_cast<std::ptrdiff_t>(array.strides(0)),
          .column_stride = static_cast<std::ptrdiff_t>(array.strides(1))};
}

// One dimension, contiguous and aligned: where an array can be read as it lies.
inline bool contiguous(const py::array &array) {
  return array.ndim() == 1 && (array.shape(0) <= 1 || array.strides(0) == array.itemsize()) &&
         reinterpret_cast<std::uintptr_t>(array.data()) %
                 static_cast<std::size_t>(array.itemsize()) ==
             0;
}

// A sparse matrix in CSR form, checked, so that it can be read without looking: but for the
// columns, which stay the user's array (sparse.cpp checks them again as it reads). Only where the
// rows begin is copied.
class SparseRows {
public:
  SparseRows(py::array values, py::array indices, const py::array &begins, std::size_t columns,
             const std::string &name)
      : values_(std::move(values)), indices_(std::move(indices)), columns_(columns) {
    const std::optional<DType> dtype = dtype_of(values_);
    if (!dtype || !contiguous(values_))
      throw py::type_error(name +
                           ".data: expected a contiguous array of booleans, integers or "
                           "floats of at most 64 bits in native byte order, got " +
                           describe(values_));
    dtype_ = *dtype;
    const auto integers = [](const py::array &array) {
      const std::optional<DType> type = dtype_of(array);
      return (type == DType::i32 || type == DType::i64) && contiguous(array);
    };
    if (!integers(indices_) || !integers(begins))
      throw py::type_error(name +
                           ": expected contiguous indices and indptr of dtype int32 or "
                           "int64, got " +
                           describe(indices_) + " and " + describe(begins));
    wide_ = indices_.itemsize() == 8;
    if (columns_ >= most_columns)
      throw py::value_error(name + ": expected fewer than 2**32 columns, got " +
                            std::to_string(columns_));
    copy_begins(begins, name);
    std::size_t bad = 0;
    {
      const WithoutGil release; // one pass over the indices
      bad = wide_ ? bad_row<std::int64_t>(indices_.data()) : bad_row<std::int32_t>(indices_.data());
    }
    if (bad < rows())
      throw py::value_error(name + ".indices: expected columns 0 to " +
                            std::to_string(static_cast<std::int64_t>(columns_) - 1) +
                            ", got one out of range in row " + std::to_string(bad) +
                            "; build the matrix anew from its parts");
  }

  std::size_t rows() const { return begins_->size() - 1; }
  // In each row the columns rise, so none comes twice.
  bool canonical() const { return canonical_; }

  Source view(const char *name, std::size_t columns) const {
    if (columns != columns_ || !canonical_)
      throw py::value_error(std::string(name) + ": expected " + std::to_string(columns) +
                            " columns, rising in each row");
    return {.data = values_.data(),
            .dtype = dtype_,
            .rows = rows(),
            .columns = columns,
            .begins = begins_->data(),
            .indices = indices_.data(),
            .wide_indices = wide_};
  }

private:
  static constexpr std::size_t most_columns = std::size_t{1} << 32U; // entries keep 32 bits

  void copy_begins(const py::array &given, const std::string &name) {
    const auto copy = [&](const auto *from) {
      return std::make_shared<const std::vector<std::int64_t>>(from, from + given.shape(0));
    };
    if (given.shape(0) == 0)
      throw py::value_error(name + ".indptr: expected n + 1 positions, got none");
    begins_ = given.itemsize() == 8 ? copy(static_cast<const std::int64_t *>(given.data()))
                                    : copy(static_cast<const std::int32_t *>(given.data()));
    const std::int64_t most = std::min(values_.shape(0), indices_.shape(0));
    std::int64_t before = 0;
    for (const std::int64_t begin : *begins_) {
      if (begin < before || begin > most)
        throw py::value_error(name + ".indptr: expected positions that never fall, from 0 to at " +
                              "most " + std::to_string(most) + ", the number of entries, got " +
                              std::to_string(begin) + " after " + std::to_string(before) +
                              "; build the matrix anew from its parts");
      before = begin;
    }
  }

  // The first row with a column out of range, or the number of rows. Notes what is canonical.
  template <class Index> std::size_t bad_row(const void *indices) {
    const auto *from = static_cast<const Index *>(indices);
    for (std::size_t row = 0; row < rows(); ++row) {
      std::int64_t previous = -1;
      bool inside = true, rising = true;
      for (std::int64_t e = (*begins_)[row]; e < (*begins_)[row + 1]; ++e) {
        const std::int64_t column = from[e];
        inside &= static_cast<std::uint64_t>(column) < columns_;
        rising &= column > previous;
        previous = column;
      }
      if (!inside)
        return row;
      canonical_ &= rising;
    }
    return rows();
  }

  py::array values_, indices_;
  std::shared_ptr<const std::vector<std::int64_t>> begins_;
  std::size_t columns_;
  DType dtype_ = DType::f32;
  bool wide_ = false, canonical_ = true;
};

// Rows of inputs: an array, or a sparse matrix.
using Inputs = std::variant<py::array, SparseRows>;

inline Source source(const Inputs &x, const char *name, std::size_t columns) {
  if (const auto *rows = std::get_if<SparseRows>(&x))
    return rows->view(name, columns);
  return source(std::get<py::array>(x), name, columns);
}

// One dimension of exactly this type and length, contiguous.
template <class T> const T *vector(const py::array &array, const char *name, std::size_t length) {
  if (!py::isinstance<py::array_t<T>>(array) || array.ndim() != 1 ||
      static_cast<std::size_t>(array.shape(0)) != length ||
      (length > 1 && array.strides(0) != static_cast<py::ssize_t>(sizeof(T))) ||
      reinterpret_cast<std::uintptr_t>(array.data()) % alignof(T) != 0)
    throw py::type_error(std::string(name) + ": expected a contiguous array of shape (" +
                         std::to_string(length) + ",) and dtype " +
                         py::str(py::dtype::of<T>()).cast<std::string>() + ", got " +
                         describe(array) + "; use numpy.ascontiguousarray");
  return static_cast<const T *>(array.data());
}

template <class T>
T *writable(const std::optional<py::array> &array, const char *name, std::size_t length) {
  if (!array)
    return nullptr;
  vector<T>(*array, name, length);
  py::array whole = *array;
  return static_cast<T *>(whole.mutable_data()); // throws where the array is read-only
}

} // namespace culpa
