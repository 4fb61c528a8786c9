// Borrowed and owned tensors: dense, row-major, in a backend's memory.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

#include "pllava/core/dtype.hpp"
#include "pllava/core/shape.hpp"

namespace pllava {

/// A borrowed tensor. `Void` is `void` for writable elements (View) and `const void` for read-only
/// elements (ConstView). Copies refer to the same elements.
template <class Void>
struct BasicView {
  Void* data = nullptr;
  DType dtype = DType::f32;
  Shape shape;

  constexpr BasicView() = default;
  constexpr BasicView(Void* elements, DType type, const Shape& extent)
      : data(elements), dtype(type), shape(extent) {}
  /// A View converts to a ConstView.
  template <class Other>
  requires(std::is_const_v<Void> && !std::is_const_v<Other>)
      // NOLINTNEXTLINE(google-explicit-constructor): reading is always allowed
      constexpr BasicView(const BasicView<Other>& other)
      : data(other.data), dtype(other.dtype), shape(other.shape) {}

  /// Whether there is no tensor, for an optional output that is not requested.
  constexpr bool empty() const noexcept { return data == nullptr; }
  /// Extent of the last axis.
  constexpr Index cols() const noexcept { return shape.rank() == 0 ? 1 : shape[shape.rank() - 1]; }
  /// Product of all other axes.
  constexpr Index rows() const noexcept { return cols() == 0 ? 0 : shape.count() / cols(); }
  constexpr Index bytes() const noexcept { return shape.count() * size_of(dtype); }

  /// Rows [begin, begin + count) as a (count, cols) view. Throws ShapeError if out of range.
  BasicView slice(Index begin, Index count) const {
    if (begin < 0 || count < 0 || begin + count > rows())
      throw ShapeError("View::slice", "expected rows of " + shape.str() + ", got rows " +
                                          std::to_string(begin) + " to " +
                                          std::to_string(begin + count));
    using Byte = std::conditional_t<std::is_const_v<Void>, const std::byte, std::byte>;
    return {static_cast<Byte*>(data) + begin * cols() * size_of(dtype), dtype,
            Shape{count, cols()}};
  }
  /// The same elements under another shape. Throws ShapeError if the counts differ.
  BasicView reshaped(const Shape& other) const {
    if (other.count() != shape.count())
      throw ShapeError("View::reshaped", "expected " + std::to_string(shape.count()) +
                                             " elements, got " + other.str());
    return {data, dtype, other};
  }

  /// Typed pointer, const for a ConstView. Precondition: T is the type of `dtype`.
  template <class T>
  auto* as() const noexcept {
    using Element = std::conditional_t<std::is_const_v<Void>, const T, T>;
    return static_cast<Element*>(data);
  }
};

using View = BasicView<void>;
using ConstView = BasicView<const void>;

/// An owned tensor in the memory of backend B. Move-only. A const Tensor converts to a ConstView.
template <class B>
class Tensor {
 public:
  Tensor() = default;
  /// Allocates; elements are uninitialized. Throws OutOfMemoryError.
  Tensor(B& be, const Shape& shape, DType dtype)
      : view_{nullptr, dtype, shape}, memory_(be.allocate(view_.bytes())) {
    view_.data = memory_.get();
  }
  Tensor(Tensor&& other) noexcept
      : view_(std::exchange(other.view_, View{})), memory_(std::move(other.memory_)) {}
  Tensor& operator=(Tensor&& other) noexcept {
    view_ = std::exchange(other.view_, View{});
    memory_ = std::move(other.memory_);
    return *this;
  }

  // NOLINTNEXTLINE(google-explicit-constructor): a Tensor is used as its View
  operator View() noexcept { return view_; }
  // NOLINTNEXTLINE(google-explicit-constructor): a const Tensor is used as its ConstView
  operator ConstView() const noexcept { return view_; }
  View view() noexcept { return view_; }
  ConstView view() const noexcept { return view_; }
  const Shape& shape() const noexcept { return view_.shape; }

 private:
  View view_;
  std::shared_ptr<void> memory_;
};

}  // namespace pllava
