// Quantization of activations to e4m3, and dequantization of weights for cuBLASLt.
#include "quantized.cuh"

namespace pllava::cuda::kernels {
namespace {

constexpr int kThreads = 256;
constexpr float kMaxE4m3 = 448.0f;
constexpr float kMinMaxAbs = 1e-30f;  // keeps kMaxE4m3 / max|x| finite

/// A block quantizes a row.
template <class X>
PLLAVA_KERNEL(kThreads, 1)
quantize_rows_kernel(e4m3* y, float* scales, const X* x, int width) {
  PLLAVA_SHARED float maxima[kWarp], sums[kWarp];
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * width;
  float max_abs = 0.0f, nan_if_not_finite = 0.0f;
  for (int d = static_cast<int>(threadIdx.x); d < width; d += kThreads) {
    const float v = to_float(x[first + d]);
    max_abs = fmaxf(max_abs, fabsf(v));
    nan_if_not_finite += v - v;
  }
  max_abs = block_max(max_abs, maxima);
  nan_if_not_finite = block_sum(nan_if_not_finite, sums);
  const float bounded = max_abs > 0.0f ? fmaxf(max_abs, kMinMaxAbs) : 0.0f;
  const float inverse = bounded > 0.0f ? kMaxE4m3 / bounded : 0.0f;
  for (int d = static_cast<int>(threadIdx.x); d < width; d += kThreads)
    y[first + d] = from_float<e4m3>(to_float(x[first + d]) * inverse);
  if (threadIdx.x == 0) scales[blockIdx.x] = bounded / kMaxE4m3 + nan_if_not_finite;
}

/// The dequantized values of a word, aligned for vector stores.
template <class T, int Count>
struct alignas(Count * sizeof(T)) WordValues {
  T at[Count];
};

/// A thread dequantizes a word. If `in` is a multiple of a word's values, rows of y are aligned and
/// the word is stored as a vector, otherwise value by value.
template <QuantizedType type, class T>
PLLAVA_KERNEL(kThreads, 1)
dequantize_kernel(T* y, QuantizedMatrix w, int first, int n, int in) {
  constexpr int kSize = kWordValues<type>, kWords = Pack<std::uint32_t>::size;
  const auto i = static_cast<int>(thread_index());
  if (i >= n) return;
  const int words = (in + kSize - 1) / kSize, r = i / words, word = i % words, k = word * kSize;
  const std::int64_t row = std::int64_t{first} + r;
  const GroupScale group = group_scale<type>(w, row, word / kWords);
  float values[kSize];
  unpack_word<type>(values, w.values[row * w.packs * kWords + word], group.zero_point);
  WordValues<T, kSize> converted;
  PLLAVA_UNROLL
  for (int j = 0; j < kSize; ++j)
    converted.at[j] = from_float<T>(w.channel_scales[row] * (group.scale * values[j]));
  T* const out = y + static_cast<std::int64_t>(r) * in + k;
  if (in % kSize == 0)
    *reinterpret_cast<WordValues<T, kSize>*>(out) = converted;
  else
    for (int j = 0; j < kSize && k + j < in; ++j) out[j] = converted.at[j];
}

}  // namespace

int quantize_rows(std::uint8_t* y, float* scales, Operand x, std::int64_t rows, int width,
                  Stream stream) {
  return with_type(x.type, [&](auto type) {
    using X = decltype(type);
    return launch(quantize_rows_kernel<X>, {static_cast<unsigned>(rows)}, kThreads, 0, stream,
                  reinterpret_cast<e4m3*>(y), scales, data_as<X>(x), width);
  });
}

int dequantize(Operand y, const QuantizedMatrix& w, int first, int rows, int in, Stream stream) {
  const int size = 32 / bits_of(w.type), n = rows * ((in + size - 1) / size);
  return with_type(y.type, [&](auto type) {
    using T = decltype(type);
    return with_quantized_type(w.type, [&](auto quantized) {
      return launch(dequantize_kernel<decltype(quantized)::value, T>, grid_for(n, kThreads),
                    kThreads, 0, stream, mutable_data_as<T>(y), w, first, n, in);
    });
  });
}

}  // namespace pllava::cuda::kernels
