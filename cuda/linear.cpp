// Linear layers. use_gemv() selects the GEMV kernels, which multiply with quantized weights
// directly; other calls take cuBLASLt.
//
// Before a product with an int8 or int4 matrix, one kernel rotates the rows of x into scratch
// memory. Every thread block of a GEMV reads all of x, so a rotation inside the GEMV would be
// repeated by each. Rotated rows have the backend's type, which a GEMM multiplies.
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "operands.hpp"
#include "step.hpp"

namespace pllava::cuda {

namespace {

constexpr Index kPanelBytes = Index{64} << 20;  // target size of one dequantized panel
constexpr Index kPanelRows =
    256;  // panel rows are a multiple of this, so each panel starts aligned

/// Rows of a dequantized panel.
Index panel_rows(Index row_bytes) {
  return std::max<Index>(kPanelBytes / std::max<Index>(row_bytes, 1) / kPanelRows, 1) * kPanelRows;
}

/// The sizes of a GEMM with w, without operands.
Gemm gemm_parameters(Index rows, const Backend::Linear& w, bool accumulate, bool batch_invariant) {
  Gemm call;
  call.rows = rows, call.out = call.y_stride = w.out, call.in = w.in;
  call.accumulate = accumulate, call.batch_invariant = batch_invariant;
  return call;
}

kernels::Gemv gemv_parameters(const View& y, const ConstView& x, const Backend::Linear& w,
                              Activation act, bool accumulate) {
  kernels::Gemv call;
  call.y = operand(y), call.x = operand(x);
  call.bias = w.bias ? floats(w.bias) : nullptr;
  call.rows = static_cast<int>(x.rows());
  call.out = static_cast<int>(w.out), call.in = static_cast<int>(w.in);
  call.act = act_of(act), call.accumulate = accumulate;
  return call;
}

/// Calls body() with the matrix of w as the kernels take it.
template <class Body>
int with_matrix(const Weight& w, const Body& body) {
  return is_quantized(w) ? body(quantized_matrix(w)) : body(operand(w));
}

}  // namespace

bool Backend::use_gemv(Index rows, Index in) const noexcept {
  return !options_.deterministic && rows <= kernels::kMaxGemvRows &&
         kernels::gemv_shared_bytes(static_cast<int>(rows), static_cast<int>(in)) <=
             kernels::kMaxSharedBytes;
}

bool Backend::use_fp8_gemm(const Linear& w) const noexcept {
  return w.weight.quantization.format == WeightFormat::fp8 && options_.dtype == DType::bf16 &&
         device_->supports_fp8_gemm() && w.in % 16 == 0 && w.out % 16 == 0;
}

/// x, converted in scratch memory if its type differs.
ConstView Backend::converted(ConstView x, DType dtype) {
  if (x.dtype == dtype) return x;
  const View y = scratch(x.shape, dtype);
  enqueue("convert", [&] {
    return kernels::convert(operand(y), operand(x), x.shape.count(), device_->stream());
  });
  return y;
}

/// The rows of x as the matrix multiplies them: rotated in scratch memory if its own rows are.
ConstView Backend::rotated(ConstView x, const Weight& w) {
  if (!is_rotated(w.quantization)) return x;
  const int width = static_cast<int>(x.cols());
  const bool fits = kernels::rotation_shared_bytes(width) <= kernels::kMaxSharedBytes;
  const View y = scratch(x.shape, fits ? w.dtype : DType::f32);
  enqueue("rotate_rows", [&] {
    return kernels::rotate_rows(operand(y), operand(x), x.rows(), width, device_->stream());
  });
  return y;
}

void Backend::activate(View y, Activation act) {
  if (act == Activation::none) return;
  enqueue("activate", [&] {
    return kernels::activate(operand(y), y.shape.count(), act_of(act), device_->stream());
  });
}

/// y = act(x * W^T + bias), or y += x * W^T + bias with `accumulate`.
void Backend::apply_linear(View y, ConstView x, const Linear& w, bool accumulate, Activation act) {
  x = rotated(x, w.weight);
  if (use_gemv(x.rows(), w.in)) {
    const kernels::Gemv call = gemv_parameters(y, x, w, act, accumulate);
    enqueue("gemv", [&] {
      return with_matrix(w.weight, [&](const auto& matrix) {
        return kernels::gemv(call, matrix, device_->stream());
      });
    });
    return;
  }
  if (use_fp8_gemm(w))
    gemm_fp8(y, x, w, accumulate);
  else
    gemm(y, x, w, accumulate);
  activate(y, act);
}

/// GEMM in the backend's dtype. A quantized weight is dequantized panel by panel, and stays rotated
/// as x is.
void Backend::gemm(View y, ConstView x, const Linear& w, bool accumulate) {
  x = converted(x, w.weight.dtype);
  const bool quantized = is_quantized(w.weight);
  const Index max_rows = quantized ? panel_rows(w.in * size_of(w.weight.dtype)) : w.out;
  Gemm call = gemm_parameters(x.rows(), w, accumulate, options_.deterministic);
  call.x = operand(x), call.w = operand(w.weight);
  if (quantized) call.w = operand(scratch({std::min(max_rows, w.out), w.in}, w.weight.dtype));
  const void* const bias = y.dtype == DType::f32 ? w.bias.data.get() : w.bias.half.get();
  for (Index first = 0; first < w.out; first += max_rows) {
    call.out = std::min(max_rows, w.out - first);
    const Index offset = first * size_of(y.dtype);
    call.y = {static_cast<std::byte*>(y.data) + offset, type_of(y.dtype)};
    if (bias != nullptr) call.bias = static_cast<const std::byte*>(bias) + offset;
    if (quantized)
      enqueue("dequantize", [&] {
        return kernels::dequantize(call.w, quantized_matrix(w.weight), static_cast<int>(first),
                                   static_cast<int>(call.out), static_cast<int>(w.in),
                                   device_->stream());
      });
    enqueue("gemm", [&] {
      device_->gemm(call);
      return 0;
    });
  }
}

/// fp8 GEMM: quantizes each row of x to e4m3.
void Backend::gemm_fp8(View y, ConstView x, const Linear& w, bool accumulate) {
  const View values = scratch({x.rows(), w.in}, DType::u8);
  const View scales = scratch({x.rows()}, DType::f32);
  enqueue("quantize_rows", [&] {
    return kernels::quantize_rows(values.as<std::uint8_t>(), floats(scales), operand(x), x.rows(),
                                  static_cast<int>(w.in), device_->stream());
  });
  Gemm call = gemm_parameters(x.rows(), w, accumulate, options_.deterministic);
  call.y = operand(y);
  call.x.data = values.data, call.w.data = w.weight.data.get();
  call.x_scales = floats(scales), call.w_scales = quantized_matrix(w.weight).channel_scales;
  call.bias = w.bias.half.get();
  enqueue("gemm", [&] {
    device_->gemm(call);
    return 0;
  });
}

void Backend::linear(View y, ConstView x, const Linear& w, Activation act) {
  add_to_step_key("linear", y, x, w.weight, w.bias, w.out, act);
  auto scope = this->scope();
  apply_linear(y, x, w, false, act);
}

void Backend::residual(View x, ConstView y, const Linear& w) {
  add_to_step_key("residual", x, y, w.weight, w.bias);
  auto scope = this->scope();
  apply_linear(x, y, w, true, Activation::none);
}

/// One row takes gemv_norm, in which the last thread block to finish applies the norm. Otherwise
/// residual() (a GEMV or GEMM with beta = 1) and norm() follow each other. Bytes per value of x
/// with a 16-bit h:
///   residual() and norm(): read x 4, write x 4, read x 4, write h 2: 14
///   a kernel that adds the result of a GEMM and normalizes: 18, or 14 with a 16-bit result
/// Only a GEMM with tiles of whole rows would move less, and cuBLASLt has none.
void Backend::residual_norm(View x, View h, ConstView y, const Linear& w, const Norm& next) {
  const int shared_bytes =
      kernels::gemv_norm_shared_bytes(static_cast<int>(w.out), static_cast<int>(w.in));
  if (y.rows() > 1 || shared_bytes > kernels::kMaxSharedBytes || options_.deterministic) {
    residual(x, y, w);
    norm(h, x, next);
    return;
  }
  add_to_step_key("residual_norm", x, h, y, w.weight, w.bias, next.gain, next.bias, next.eps);
  auto scope = this->scope();
  const kernels::Gemv call = gemv_parameters(x, rotated(y, w.weight), w, Activation::none, true);
  enqueue("gemv_norm", [&] {
    return with_matrix(w.weight, [&](const auto& matrix) {
      return kernels::gemv_norm(call, matrix, operand(h), norm_parameters(next),
                                static_cast<unsigned*>(block_counter_.get()), device_->stream());
    });
  });
}

void Backend::glu(View g, ConstView h, const Linear& gate_up, Activation act) {
  if (gate_up.bias) throw ArgumentError("glu: a gated layer with a bias is not supported");
  add_to_step_key("glu", g, h, gate_up.weight, act);
  auto scope = this->scope();
  if (use_gemv(h.rows(), gate_up.in)) {
    const kernels::Gemv call = gemv_parameters(g, rotated(h, gate_up.weight), gate_up, act, false);
    enqueue("gemv_glu", [&] {
      return with_matrix(gate_up.weight, [&](const auto& matrix) {
        return kernels::gemv_glu(call, matrix, device_->stream());
      });
    });
    return;
  }
  const View gate_and_up = scratch({g.rows(), 2 * g.cols()}, g.dtype);
  Linear stacked = gate_up;
  stacked.out = 2 * gate_up.out;
  apply_linear(gate_and_up, h, stacked, false, Activation::none);
  enqueue("act_mul", [&] {
    return kernels::act_mul(operand(g), operand(gate_and_up), g.rows(), static_cast<int>(g.cols()),
                            act_of(act), device_->stream());
  });
}

}  // namespace pllava::cuda
