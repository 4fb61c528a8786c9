// Row-wise kernels: conversions, quantization, activations, norms. See simd_base.hpp.

void bf16_to_float(float* dst, const bf16* src, Index n) {
  Index i = 0;
  for (; i + kLanes <= n; i += kLanes) store(dst + i, load(src + i));
  for (; i < n; ++i) dst[i] = to_float(src[i]);
}

void float_to_bf16(bf16* dst, const float* src, Index n) {
  Index i = 0;
  for (; i + kLanes <= n; i += kLanes) store(dst + i, load(src + i));
  for (; i < n; ++i) dst[i] = from_float<bf16>(src[i]);
}

void activate(float* x, Index n, Activation act) {
  if (act == Activation::none) return;
  Index i = 0;
  for (; i + kLanes <= n; i += kLanes) store(x + i, apply(act, load(x + i)));
  if (i < n) store_partial(x + i, apply(act, load_partial(x + i, n - i)), n - i);
}

void act_mul(float* gate, const float* up, Index n, Activation act) {
  Index i = 0;
  for (; i + kLanes <= n; i += kLanes) store(gate + i, apply(act, load(gate + i)) * load(up + i));
  if (i < n)
    store_partial(gate + i, apply(act, load_partial(gate + i, n - i)) * load_partial(up + i, n - i),
                  n - i);
}

void add(float* x, const float* y, Index n) {
  Index i = 0;
  for (; i + kLanes <= n; i += kLanes) store(x + i, load(x + i) + load(y + i));
  for (; i < n; ++i) x[i] += y[i];
}

void scale_add(float* x, float scale, const float* y, Index n) {
  Index i = 0;
  for (; i + kLanes <= n; i += kLanes) store(x + i, load(x + i) * scale + load(y + i));
  for (; i < n; ++i) x[i] = x[i] * scale + y[i];
}

float quantize_row(std::int8_t* q, const float* x, Index n) {
  VecF32 lane_max{};
  Index i = 0;
  for (; i + kLanes <= n; i += kLanes) lane_max = max(abs(load(x + i)), lane_max);
  float abs_max = reduce_max(lane_max);
  for (; i < n; ++i) {
    const float a = x[i] < 0 ? -x[i] : x[i];
    abs_max = a > abs_max ? a : abs_max;
  }
  const float inverse_scale = abs_max > 0 ? 127.0f / abs_max : 0.0f;
  const auto quantized = [&](VecF32 v) __attribute__((always_inline)) {
    return as_i32(v * inverse_scale + 12582912.0f) - 0x4b400000;  // rounds, see exp()
  };
  for (i = 0; i + kLanes <= n; i += kLanes) store_as_i8(q + i, quantized(load(x + i)));
  if (i < n) {
    const VecI32 last = quantized(load_partial(x + i, n - i));
    for (Index lane = 0; i < n; ++i, ++lane) q[i] = static_cast<std::int8_t>(last[lane]);
  }
  return abs_max / 127.0f;
}

void norm(float* y, const float* x, const float* gain, const float* bias, float eps, Index n,
          bool rms) {
  float mean = 0;
  Index i = 0;
  if (!rms) {
    VecF32 t{};
    for (; i + kLanes <= n; i += kLanes) t += load(x + i);
    mean = reduce_sum(t);
    for (; i < n; ++i) mean += x[i];
    mean /= static_cast<float>(n);
  }
  VecF32 t{};
  for (i = 0; i + kLanes <= n; i += kLanes) {
    const VecF32 d = load(x + i) - mean;
    t += d * d;
  }
  float variance = reduce_sum(t);
  for (; i < n; ++i) variance += (x[i] - mean) * (x[i] - mean);
  const float inverse_std = 1.0f / __builtin_sqrtf(variance / static_cast<float>(n) + eps);
  for (i = 0; i + kLanes <= n; i += kLanes) {
    VecF32 v = (load(x + i) - mean) * inverse_std * load(gain + i);
    if (bias != nullptr) v += load(bias + i);
    store(y + i, v);
  }
  for (; i < n; ++i) {
    const float v = (x[i] - mean) * inverse_std * gain[i];
    y[i] = bias != nullptr ? v + bias[i] : v;
  }
}

/// `table` with these kernels.
constexpr Kernels with_rowwise(Kernels table) {
  table.quantize_row = quantize_row;
  table.bf16_to_float = bf16_to_float;
  table.float_to_bf16 = float_to_bf16;
  table.activate = activate;
  table.act_mul = act_mul;
  table.add = add;
  table.scale_add = scale_add;
  table.norm = norm;
  return table;
}
