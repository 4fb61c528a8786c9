// Preprocessing of 8-bit frames. Results are bit-identical to Pillow and to the host
// (preprocess.hpp).
#include "simt.cuh"

namespace pllava::cuda::kernels {

namespace {

constexpr int kThreads = 256;
constexpr int kWeightBits = 22;  // fraction bits of resampling weights

/// Offset of channel c (red, green, blue) in a pixel.
PLLAVA_DEVICE int channel_offset(const FrameBatch& in, int c) {
  if (in.pixel_bytes == 1) return 0;
  return in.blue_first ? 2 - c : c;
}

/// Rounds a fixed-point sum to 8 bits.
PLLAVA_DEVICE std::uint8_t clip8(std::uint32_t sum) {
  const int v = static_cast<std::int32_t>(sum) >> kWeightBits;
  return static_cast<std::uint8_t>(v < 0 ? 0 : v > 255 ? 255 : v);
}

/// Rounds a color with 16 fraction bits to 8 bits.
PLLAVA_DEVICE std::uint8_t color8(int x) {
  const int v = (x + (1 << 15)) >> 16;
  return static_cast<std::uint8_t>(v < 0 ? 0 : v > 255 ? 255 : v);
}

/// A thread computes one pixel.
PLLAVA_KERNEL(kThreads, 1)
nv12_kernel(std::uint8_t* out, Nv12 in, int width, std::int64_t pixels) {
  const std::int64_t pixel = thread_index();
  if (pixel >= pixels) return;
  const std::int64_t y = pixel / width, x = pixel % width;
  const std::uint8_t* pair = in.chroma + y / 2 * in.chroma_stride + x / 2 * 2;
  const int luma = in.luma_scale * (in.luma[y * in.luma_stride + x] - in.luma_offset);
  const int cb = pair[0] - 128, cr = pair[1] - 128;
  out += 3 * pixel;
  out[0] = color8(luma + in.red_cr * cr);
  out[1] = color8(luma - in.green_cb * cb - in.green_cr * cr);
  out[2] = color8(luma + in.blue_cb * cb);
}

/// A thread computes one pixel.
PLLAVA_KERNEL(kThreads, 1)
resample_kernel(Resample params) {
  const std::int64_t pixel = thread_index();
  const std::int64_t per_frame = static_cast<std::int64_t>(params.rows) * params.columns;
  if (pixel >= per_frame * params.frames) return;
  const auto frame = static_cast<int>(pixel / per_frame);
  const auto row = static_cast<int>(pixel % per_frame / params.columns);
  const auto column = static_cast<int>(pixel % params.columns);
  const std::int32_t* tap = params.taps + 3 * (params.vertical ? row : column);
  const std::int64_t step = params.vertical ? params.in.stride : params.in.pixel_bytes;
  const std::int64_t along = params.vertical
                                 ? static_cast<std::int64_t>(column) * params.in.pixel_bytes
                                 : row * params.in.stride;
  const std::uint8_t* in = params.in.first + frame * params.in.frame_bytes + along + tap[0] * step;
  const int red = channel_offset(params.in, 0), green = channel_offset(params.in, 1),
            blue = channel_offset(params.in, 2);
  std::uint32_t sums[3] = {};  // unsigned, where wrapping is defined
  for (std::uint32_t& sum : sums) sum = 1u << (kWeightBits - 1);
  for (int k = 0; k < tap[2]; ++k, in += step) {
    const auto weight = static_cast<std::uint32_t>(params.weights[tap[1] + k]);
    sums[0] += in[red] * weight;
    sums[1] += in[green] * weight;
    sums[2] += in[blue] * weight;
  }
  for (int c = 0; c < 3; ++c) params.out[pixel * 3 + c] = clip8(sums[c]);
}

PLLAVA_KERNEL(kThreads, 1)
normalize_kernel(float* out, FrameBatch in, const float* table, int frames, int side) {
  const std::int64_t i = thread_index();
  const std::int64_t plane = static_cast<std::int64_t>(side) * side;
  if (i >= frames * 3 * plane) return;
  const std::int64_t frame = i / (3 * plane), y = i % plane / side, x = i % side;
  const auto c = static_cast<int>(i / plane % 3);
  const std::int64_t at = frame * in.frame_bytes + y * in.stride + x * in.pixel_bytes;
  out[i] = table[256 * c + in.first[at + channel_offset(in, c)]];
}

}  // namespace

int resample(const Resample& params, Stream stream) {
  const std::int64_t pixels = std::int64_t{params.frames} * params.rows * params.columns;
  return launch(resample_kernel, grid_for(pixels, kThreads), kThreads, 0, stream, params);
}

int nv12_to_rgb(std::uint8_t* out, const Nv12& in, int width, int height, Stream stream) {
  const std::int64_t pixels = std::int64_t{width} * height;
  return launch(nv12_kernel, grid_for(pixels, kThreads), kThreads, 0, stream, out, in, width,
                pixels);
}

int normalize(float* out, const FrameBatch& in, const float* table, int frames, int side,
              Stream stream) {
  const std::int64_t n = std::int64_t{frames} * 3 * side * side;
  return launch(normalize_kernel, grid_for(n, kThreads), kThreads, 0, stream, out, in, table,
                frames, side);
}

}  // namespace pllava::cuda::kernels
