// View: a borrowed, dense, row-major tensor in a backend's memory. Tensor: one that owns.
#pragma once

#include <memory>
#include <utility>

#include "pllava/core/dtype.hpp"
#include "pllava/core/shape.hpp"

namespace pllava {

/// Borrowed tensor. Copying copies the reference; constness is that of the pointer, not of the
/// data.
struct View {
  void* data = nullptr;
  DType dtype = DType::f32;
  Shape shape;

  /// Extent of the last axis.
  Index cols() const noexcept { return shape.rank() == 0 ? 1 : shape[shape.rank() - 1]; }
  /// Product of all other axes.
  Index rows() const noexcept { return cols() == 0 ? 0 : shape.count() / cols(); }
  Index bytes() const noexcept { return shape.count() * size_of(dtype); }

  /// Rows [begin, begin + count) as a (count, cols) view. Throws ShapeError outside the view.
  View slice(Index begin, Index count) const {
    if (begin < 0 || count < 0 || begin + count > rows())
      throw ShapeError("View::slice", "rows " + std::to_string(begin) + " to " +
                                          std::to_string(begin + count) + " of " + shape.str());
    return {static_cast<std::byte*>(data) + begin * cols() * size_of(dtype), dtype,
            Shape{count, cols()}};
  }
  /// The same elements under another shape. Throws ShapeError if the counts differ.
  View reshaped(const Shape& other) const {
    if (other.count() != shape.count())
      throw ShapeError("View::reshaped", shape.str() + " to " + other.str());
    return {data, dtype, other};
  }

  /// Typed pointer; the caller has checked `dtype`.
  template <class T>
  T* as() const noexcept {
    return static_cast<T*>(data);
  }
};

/// Owned tensor in the memory of backend B. Movable; `clone` of a tensor is spelled by its backend.
template <class B>
class Tensor {
 public:
  Tensor() = default;
  /// Allocates, uninitialised. Throws OutOfMemoryError.
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

  operator View() const noexcept { return view_; }  // NOLINT: a Tensor is used as its View
  const View& view() const noexcept { return view_; }
  const Shape& shape() const noexcept { return view_.shape; }

 private:
  View view_;
  std::shared_ptr<void> memory_;
};

}  // namespace pllava
