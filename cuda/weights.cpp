// Weights and KV caches in device memory.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "device_memory.hpp"
#include "operands.hpp"

namespace pllava::cuda {

namespace {

/// Uploads the values of all parts, converted to `dtype`.
std::shared_ptr<void> upload_values(std::span<const HostTensor> parts, DType dtype,
                                    const std::shared_ptr<Device>& device) {
  const Index element_bytes = size_of(dtype);
  Index count = 0;
  for (const HostTensor& p : parts) count += p.shape.count();
  auto memory = device_memory(device, count * element_bytes, "a weight");
  auto* out = static_cast<std::byte*>(memory.get());
  for (const HostTensor& p : parts) {
    const Index bytes = p.shape.count() * element_bytes;
    if (p.dtype == dtype) {
      device->to_device(out, p.data, bytes);
    } else {
      device->to_device(out, bytes, [&](std::byte* to, Index begin, Index size) {
        for (Index i = 0; i < size / element_bytes; ++i)
          store_float(to, dtype, i, load_float(p.data, p.dtype, begin / element_bytes + i));
      });
    }
    out += bytes;
  }
  return memory;
}

/// Scales and zero points of the rows of a quantized weight.
struct RowScales {
  std::vector<float> channel_scales;
  std::vector<std::uint8_t> group_scales, zero_points;

  void append(const QuantizedRow& row, const Quantization& q) {
    channel_scales.push_back(row.channel_scale);
    group_scales.insert(group_scales.end(), row.group_scales.begin(), row.group_scales.end());
    if (q.zero_points)
      zero_points.insert(zero_points.end(), row.zero_points.begin(), row.zero_points.end());
  }

  /// In the order that quantized_matrix() expects.
  std::shared_ptr<void> upload(const std::shared_ptr<Device>& device) const {
    const auto bytes_of = [](const auto& v) { return static_cast<Index>(v.size() * sizeof(v[0])); };
    auto memory = device_memory(
        device, bytes_of(channel_scales) + bytes_of(group_scales) + bytes_of(zero_points),
        "the scales of a weight");
    auto* out = static_cast<std::byte*>(memory.get());
    const auto append = [&](const auto& v) {
      device->to_device(out, v.data(), bytes_of(v));
      out += bytes_of(v);
    };
    append(channel_scales), append(group_scales), append(zero_points);
    return memory;
  }
};

/// Quantizes the rows of w that are not quantized yet, and uploads all in the layout of
/// kernels::QuantizedMatrix. Works in chunks of rows, so that the host never holds a whole weight.
void upload_quantized(Weight& w, std::span<const HostTensor> parts,
                      const std::shared_ptr<Device>& device) {
  constexpr Index kChunkBytes = Index{4} << 20;
  const Quantization& q = w.quantization;
  require_valid(q);
  const Index stored_bytes = stored_row_bytes(q, w.cols);
  const Index value_bytes = q.format == WeightFormat::int4 ? (w.cols + 1) / 2 : w.cols;
  const Index row_bytes = Index{quantized_matrix(w).packs} * 16;
  const Index max_rows = std::max<Index>(kChunkBytes / std::max<Index>(row_bytes, 1), 1);
  w.data = device_memory(device, w.rows * row_bytes, "a weight");
  auto* out = static_cast<std::byte*>(w.data.get());
  RowScales scales;
  std::vector<std::byte> chunk, quantized(static_cast<std::size_t>(stored_bytes));
  for (const HostTensor& p : parts)
    for (Index begin = 0; begin < p.shape[0]; begin += max_rows) {
      const Index rows = std::min(max_rows, p.shape[0] - begin);
      chunk.assign(static_cast<std::size_t>(rows * row_bytes), std::byte{0});
      for (Index r = 0; r < rows; ++r) {
        const std::byte* stored = p.data + (begin + r) * stored_bytes;
        if (p.dtype != DType::u8) {
          store_row(quantized.data(), quantized_row(p, begin + r), q);
          stored = quantized.data();
        }
        scales.append(load_row(stored, w.cols, q, false), q);
        std::copy_n(stored + stored_bytes - value_bytes, value_bytes,
                    chunk.begin() + r * row_bytes);
      }
      device->to_device(out, chunk.data(), rows * row_bytes);
      out += rows * row_bytes;
    }
  w.scales = scales.upload(device);
}

}  // namespace

Weight Backend::prepare(std::span<const HostTensor> parts, WeightRole role) {
  const bool vector = role == WeightRole::vector;
  Index count = 0;
  for (const HostTensor& p : parts) count += p.shape.count();
  Weight w;
  w.dtype = vector ? DType::f32 : options_.dtype;
  w.cols = vector ? count : parts[0].shape[1];
  w.rows = w.cols == 0 ? 0 : count / w.cols;
  w.quantization = quantization_for(parts, role);
  if (is_quantized(w))
    upload_quantized(w, parts, device_);
  else
    w.data = upload_values(parts, w.dtype, device_);
  if (vector && options_.dtype != DType::f32)
    w.half = upload_values(parts, options_.dtype, device_);
  device_->synchronize();  // other streams may read it from now on
  return w;
}

KvLayer Backend::make_kv(const Heads& heads, Index capacity) {
  const Index rows = heads.num_kv_heads * capacity;
  const Index bytes = rows * heads.head_dim * (options_.int8_kv ? 1 : size_of(options_.dtype));
  KvLayer layer = {capacity, device_memory(device_, bytes, "the keys of a layer"),
                   device_memory(device_, bytes, "the values of a layer"), nullptr};
  if (options_.int8_kv)
    layer.scales = device_memory(device_, 2 * rows * Index{sizeof(float)},
                                 "the scales of a layer's keys and values");
  return layer;
}

}  // namespace pllava::cuda
