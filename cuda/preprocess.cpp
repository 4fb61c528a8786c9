// Preprocessing on the device: the host plans the passes for each size of frames, the device runs
// them over all frames of that size.
#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "device.hpp"
#include "kernels/launch.hpp"
#include "pllava/cuda.hpp"
#include "pllava/impl/crop_plan.hpp"

namespace pllava::cuda {

namespace {

using pllava::detail::AxisWeights;

/// Pictures in device memory, and which pixel of the whole picture their first one is.
struct Window {
  kernels::Pictures pictures;
  Index x0 = 0, y0 = 0;

  kernels::Pictures at(Index x, Index y) const {
    kernels::Pictures moved = pictures;
    moved.first += (y - y0) * pictures.stride + (x - x0) * pictures.pixel_bytes;
    return moved;
  }
};

/// Frames that the same passes prepare.
bool alike(const Frame& a, const Frame& b) {
  return a.width == b.width && a.height == b.height && a.format == b.format;
}

/// (outputs, 3): the first input from `begin` on, where the weights begin, how many they are.
std::vector<std::int32_t> taps_from(const AxisWeights& axis, Index begin) {
  std::vector<std::int32_t> taps;
  for (const AxisWeights::Taps& t : axis.taps)
    for (const auto n : {t.first - begin, static_cast<Index>(t.offset), t.count})
      taps.push_back(static_cast<std::int32_t>(n));
  return taps;
}

}  // namespace

/// Runs the passes of one group of alike frames; their memory is scratch of the enclosing scope.
class Resampler {
 public:
  Resampler(Backend& be, Device& device, int frames) : be_(be), device_(device), frames_(frames) {}

  /// The frames behind one another, densely packed.
  Window gather(std::span<const Frame* const> frames) {
    const Frame& first = *frames[0];
    const Index row = first.width * channels_of(first.format);
    const View bytes = be_.scratch({frames_, first.height, row}, DType::u8);
    auto* to = bytes.as<std::uint8_t>();
    for (const Frame* frame : frames) {
      upload(to, *frame, row);
      to += row * first.height;
    }
    const bool blue_first = first.format == PixelFormat::bgr || first.format == PixelFormat::bgra;
    return {{bytes.as<std::uint8_t>(), row * first.height, row,
             static_cast<int>(channels_of(first.format)), blue_first}};
  }

  /// The pixels h.range x v.range of the scaled pictures.
  Window resample(Window in, const AxisWeights& h, const AxisWeights& v) {
    if (!h.copy) in = pass(in, h, h.range, v.source, false);
    if (!v.copy) in = pass(in, v, h.range, v.range, true);
    return in;
  }

  void normalise(float* pixels, const kernels::Pictures& in, const PreprocessConfig& config) {
    std::vector<float> values;
    for (std::size_t c = 0; c < 3; ++c) {
      const auto channel = pllava::detail::normalised_values(c, config);
      values.insert(values.end(), channel.begin(), channel.end());
    }
    Device::check(kernels::normalise(pixels, in, uploaded<float>(values, DType::f32), frames_,
                                     static_cast<int>(config.image_size), device_.stream()),
                  "normalise");
  }

 private:
  void upload(std::uint8_t* to, const Frame& frame, Index row) {
    device_.to_device(to, row * frame.height, [&](std::byte* out, Index begin, Index size) {
      for (const Index end = begin + size; begin < end;) {  // a piece may begin and end in a row
        const Index x = begin % row, n = std::min(row - x, end - begin);
        std::memcpy(out, frame.data + begin / row * frame.stride + x, static_cast<std::size_t>(n));
        out += n, begin += n;
      }
    });
  }

  template <class T>
  const T* uploaded(const std::vector<T>& values, DType dtype) {
    const View v = be_.scratch({static_cast<Index>(values.size())}, dtype);
    be_.upload(v, values.data());
    return v.as<T>();
  }

  Window pass(const Window& in, const AxisWeights& axis, const pllava::detail::Range& x,
              const pllava::detail::Range& y, bool vertical) {
    kernels::Resample call;
    const View out = be_.scratch({frames_, y.size(), x.size(), 3}, DType::u8);
    call.out = out.as<std::uint8_t>();
    // Along the axis, taps count from where its inputs begin; across it, the window begins at x or
    // y.
    call.in = vertical ? in.at(x.begin, axis.source.begin) : in.at(axis.source.begin, y.begin);
    call.taps = uploaded(taps_from(axis, axis.source.begin), DType::i32);
    call.weights = uploaded(axis.weights, DType::i32);
    call.frames = frames_;
    call.rows = static_cast<int>(y.size()), call.columns = static_cast<int>(x.size());
    call.vertical = vertical;
    Device::check(kernels::resample(call, device_.stream()), "resample");
    return {{call.out, 3 * y.size() * x.size(), 3 * x.size(), 3, false}, x.begin, y.begin};
  }

  Backend& be_;
  Device& device_;
  int frames_;
};

void Backend::preprocess(View pixels, std::span<const Frame> frames,
                         const PreprocessConfig& config) {
  if (frames.empty()) throw MediaError("", "a clip without frames");
  for (const Frame& f : frames)
    Frame::borrow(f.data, f.width, f.height, f.format, f.stride);  // throws what is wrong with it
  const StageOneSize size = stage_one_size(frames[0].width, frames[0].height, config);
  const Index picture = 3 * config.image_size * config.image_size;
  for (std::size_t begin = 0, end = 0; begin < frames.size(); begin = end) {
    std::vector<const Frame*> group;
    for (; end < frames.size() && alike(frames[end], frames[begin]); ++end)
      group.push_back(&frames[end]);
    const Frame& first = *group[0];
    const pllava::detail::CropPlan plan(first.width, first.height, size, config);
    auto scope = this->scope();
    Resampler resampler(*this, *device_, static_cast<int>(group.size()));
    Window window = resampler.gather(group);
    if (plan.stage_one) window = resampler.resample(window, plan.stage_one->h, plan.stage_one->v);
    window.x0 -= plan.left;
    window.y0 -= plan.top;
    const auto& [h, v] = plan.stage_two;
    window = resampler.resample(window, h, v);
    resampler.normalise(pixels.as<float>() + static_cast<Index>(begin) * picture,
                        window.at(h.range.begin, v.range.begin), config);
  }
}

}  // namespace pllava::cuda
