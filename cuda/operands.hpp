// Views and weights as parameters of kernels.
#pragma once

#include <cstdint>

#include "kernels/launch.hpp"
#include "pllava/cuda.hpp"

namespace pllava::cuda {

inline kernels::Type type_of(DType dtype) {
  switch (dtype) {
    case DType::f16: return kernels::Type::f16;
    case DType::bf16: return kernels::Type::bf16;
    default: return kernels::Type::f32;
  }
}

inline kernels::Act act_of(Activation act) {
  switch (act) {
    case Activation::none: return kernels::Act::none;
    case Activation::quick_gelu: return kernels::Act::quick_gelu;
    case Activation::gelu: return kernels::Act::gelu;
    case Activation::gelu_tanh: return kernels::Act::gelu_tanh;
    case Activation::silu: return kernels::Act::silu;
  }
  return kernels::Act::none;
}

inline kernels::Operand operand(const View& v) {
  return {v.data, type_of(v.dtype)};
}
/// An input. Kernels only read it, although Operand has no const form.
inline kernels::Operand operand(const ConstView& v) {
  return {const_cast<void*>(v.data), type_of(v.dtype)};
}
inline kernels::Operand operand(const Weight& w) {
  return {w.data.get(), type_of(w.dtype)};
}

inline float* floats(const View& v) {
  return v.as<float>();
}
inline const float* floats(const ConstView& v) {
  return v.as<float>();
}
inline const float* floats(const Weight& w) {
  return static_cast<const float*>(w.data.get());
}

inline bool is_quantized(const Weight& w) {
  return w.quantization.format != WeightFormat::unquantized;
}

/// A quantized weight: its values are in w.data; the channel scales, group scales and zero points
/// follow one another in w.scales.
inline kernels::QuantizedMatrix quantized_matrix(const Weight& w) {
  const Quantization& q = w.quantization;
  kernels::QuantizedMatrix m;
  m.type = q.format == WeightFormat::int4  ? kernels::QuantizedType::int4
           : q.format == WeightFormat::fp8 ? kernels::QuantizedType::e4m3
                                           : kernels::QuantizedType::int8;
  m.packs = static_cast<int>((w.cols * kernels::bits_of(m.type) + 127) / 128);
  m.values = static_cast<const std::uint32_t*>(w.data.get());
  m.channel_scales = static_cast<const float*>(w.scales.get());
  if (m.type != kernels::QuantizedType::int4) return m;
  m.log2_group_packs = q.group == 128 ? 2 : 0;
  m.group_scales = reinterpret_cast<const std::uint8_t*>(m.channel_scales + w.rows);
  if (q.zero_points) m.zero_points = m.group_scales + w.rows * ((w.cols + q.group - 1) / q.group);
  return m;
}

inline kernels::Norm norm_parameters(const Backend::Norm& n) {
  return {floats(n.gain), n.bias ? floats(n.bias) : nullptr, n.eps};
}

}  // namespace pllava::cuda
