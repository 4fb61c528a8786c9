// From 8-bit frames to pixel values, to the bit as Pillow and the host do it (preprocess.hpp).
#include "simt.cuh"

namespace pllava::cuda::kernels {

namespace {

constexpr int kThreads = 256;
constexpr int kPrecisionBits = 22;

/// Byte of channel c (red, green, blue) in a pixel.
PLLAVA_DEVICE int channel(const Pictures& in, int c) {
  if (in.pixel_bytes == 1) return 0;
  return in.blue_first ? 2 - c : c;
}

/// Rounds a fixed-point sum to 8 bits.
PLLAVA_DEVICE std::uint8_t clip8(std::uint32_t sum) {
  const int v = static_cast<std::int32_t>(sum) >> kPrecisionBits;
  return static_cast<std::uint8_t>(v < 0 ? 0 : v > 255 ? 255 : v);
}

/// Rounds a colour with 16 bits of fraction to 8 bits.
PLLAVA_DEVICE std::uint8_t colour8(int x) {
  const int v = (x + (1 << 15)) >> 16;
  return static_cast<std::uint8_t>(v < 0 ? 0 : v > 255 ? 255 : v);
}

/// A thread computes one pixel.
PLLAVA_KERNEL(kThreads, 1)
nv12_kernel(std::uint8_t* out, Nv12 in, int width, std::int64_t pixels) {
  const auto pixel = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (pixel >= pixels) return;
  const std::int64_t y = pixel / width, x = pixel % width;
  const std::uint8_t* pair = in.chroma + y / 2 * in.chroma_stride + x / 2 * 2;
  const int luma = in.luma_factor * (in.luma[y * in.luma_stride + x] - in.luma_offset);
  const int cb = pair[0] - 128, cr = pair[1] - 128;
  out += 3 * pixel;
  out[0] = colour8(luma + in.red_cr * cr);
  out[1] = colour8(luma - in.green_cb * cb - in.green_cr * cr);
  out[2] = colour8(luma + in.blue_cb * cb);
}

/// A thread computes one pixel.
PLLAVA_KERNEL(kThreads, 1)
resample_kernel(Resample call) {
  const auto pixel = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  const std::int64_t per_frame = static_cast<std::int64_t>(call.rows) * call.columns;
  if (pixel >= per_frame * call.frames) return;
  const auto frame = static_cast<int>(pixel / per_frame);
  const auto row = static_cast<int>(pixel % per_frame / call.columns);
  const auto column = static_cast<int>(pixel % call.columns);
  const std::int32_t* tap = call.taps + 3 * (call.vertical ? row : column);
  const std::int64_t step = call.vertical ? call.in.stride : call.in.pixel_bytes;
  const std::int64_t along = call.vertical ? static_cast<std::int64_t>(column) * call.in.pixel_bytes
                                           : row * call.in.stride;
  const std::uint8_t* in = call.in.first + frame * call.in.frame_bytes + along + tap[0] * step;
  const int red = channel(call.in, 0), green = channel(call.in, 1), blue = channel(call.in, 2);
  std::uint32_t sums[3] = {};  // unsigned, where wrapping is defined
  for (std::uint32_t& sum : sums) sum = 1u << (kPrecisionBits - 1);
  for (int k = 0; k < tap[2]; ++k, in += step) {
    const auto weight = static_cast<std::uint32_t>(call.weights[tap[1] + k]);
    sums[0] += in[red] * weight;
    sums[1] += in[green] * weight;
    sums[2] += in[blue] * weight;
  }
  for (int c = 0; c < 3; ++c) call.out[pixel * 3 + c] = clip8(sums[c]);
}

PLLAVA_KERNEL(kThreads, 1)
normalise_kernel(float* out, Pictures in, const float* values, int frames, int side) {
  const auto i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  const std::int64_t plane = static_cast<std::int64_t>(side) * side;
  if (i >= frames * 3 * plane) return;
  const std::int64_t frame = i / (3 * plane), y = i % plane / side, x = i % side;
  const auto c = static_cast<int>(i / plane % 3);
  const std::int64_t place = frame * in.frame_bytes + y * in.stride + x * in.pixel_bytes;
  out[i] = values[256 * c + in.first[place + channel(in, c)]];
}

Grid blocks_for(std::int64_t n) {
  return {static_cast<unsigned>((n + kThreads - 1) / kThreads)};
}

}  // namespace

int resample(const Resample& call, Stream stream) {
  const std::int64_t pixels = std::int64_t{call.frames} * call.rows * call.columns;
  return launch(resample_kernel, blocks_for(pixels), kThreads, 0, stream, call);
}

int nv12_to_rgb(std::uint8_t* out, const Nv12& in, int width, int height, Stream stream) {
  const std::int64_t pixels = std::int64_t{width} * height;
  return launch(nv12_kernel, blocks_for(pixels), kThreads, 0, stream, out, in, width, pixels);
}

int normalise(float* out, const Pictures& in, const float* values, int frames, int side,
              Stream stream) {
  const std::int64_t n = std::int64_t{frames} * 3 * side * side;
  return launch(normalise_kernel, blocks_for(n), kThreads, 0, stream, out, in, values, frames,
                side);
}

}  // namespace pllava::cuda::kernels
