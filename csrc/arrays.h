// From NumPy arrays to views, checked by hand: pybind11's own conversions copy silently or refuse
// with one opaque message. Beside bindings.cpp the only file that knows Python.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

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
  return {array.data(),
          *dtype,
          static_cast<std::size_t>(array.shape(0)),
          columns,
          static_cast<std::ptrdiff_t>(array.strides(0)),
          static_cast<std::ptrdiff_t>(array.strides(1))};
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
