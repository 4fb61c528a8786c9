// Preprocessing on the device: the host plans the passes for each size of frames, the device runs
// them over all frames of that size.
#include <algorithm>
#include <cstring>
#include <list>
#include <string>
#include <utility>
#include <vector>

#include "device.hpp"
#include "kernels/launch.hpp"
#include "pllava/cuda.hpp"
#include "pllava/media/detail/crop_plan.hpp"

namespace pllava::cuda {

namespace {

using pllava::detail::AxisWeights;

std::string size_text(Index width, Index height) {
  return std::to_string(width) + "x" + std::to_string(height);
}

/// The order of channels once the pixels are interleaved.
PixelFormat interleaved(DeviceFormat format) {
  switch (format) {
    case DeviceFormat::rgb: return PixelFormat::rgb;
    case DeviceFormat::bgr: return PixelFormat::bgr;
    case DeviceFormat::rgba: return PixelFormat::rgba;
    case DeviceFormat::bgra: return PixelFormat::bgra;
    case DeviceFormat::nv12: return PixelFormat::rgb;
  }
  return PixelFormat::rgb;
}

/// The pixels with their strides filled in. Throws MediaError.
DevicePixels checked(DevicePixels p, Index width, Index height) {
  const bool nv12 = p.format == DeviceFormat::nv12;
  // Of a frame, only the description is looked at, so one in device memory is checked likewise.
  p.stride = Frame::borrow(static_cast<const std::uint8_t*>(p.data), width, height,
                           nv12 ? PixelFormat::grey : interleaved(p.format), p.stride)
                 .stride;
  if (!nv12) return p;
  const std::string name = "an NV12 frame of " + size_text(width, height);
  if (p.chroma == nullptr) throw MediaError("", name + " has no plane of chroma");
  if (width % 2 != 0 || height % 2 != 0) throw MediaError("", name + "; expected even sides");
  if (p.chroma_stride == 0) p.chroma_stride = width;
  if (p.chroma_stride < width)
    throw MediaError("", name + " has rows of chroma " + std::to_string(p.chroma_stride) +
                             " bytes apart; expected at least " + std::to_string(width));
  return p;
}

/// Throws MediaError unless `memory` can be read on the device.
void check_location(const Device& device, const void* memory, const Frame& frame) {
  const int found = device.location(memory);
  if (found != device.ordinal())
    throw MediaError("",
                     "a frame of " + size_text(frame.width, frame.height) + " lies in " +
                         (found < 0 ? "host memory" : "memory of GPU " + std::to_string(found)) +
                         "; expected memory of GPU " + std::to_string(device.ordinal()));
}

kernels::Nv12 nv12(const DevicePixels& p) {
  kernels::Nv12 in;
  in.luma = static_cast<const std::uint8_t*>(p.data), in.luma_stride = p.stride;
  in.chroma = static_cast<const std::uint8_t*>(p.chroma), in.chroma_stride = p.chroma_stride;
  const auto factors = [&](int offset, int luma, int red_cr, int green_cb, int green_cr,
                           int blue_cb) {
    in.luma_offset = offset, in.luma_scale = luma;
    in.red_cr = red_cr, in.green_cb = green_cb, in.green_cr = green_cr, in.blue_cb = blue_cb;
  };
  switch (p.encoding) {  // the table of cuda.hpp
    case YuvEncoding::bt601_limited: factors(16, 76309, 104597, 25675, 53279, 132201); break;
    case YuvEncoding::bt601_full: factors(0, 65536, 91881, 22553, 46802, 116130); break;
    case YuvEncoding::bt709_limited: factors(16, 76309, 117489, 13975, 34925, 138438); break;
    case YuvEncoding::bt709_full: factors(0, 65536, 103206, 12276, 30679, 121609); break;
  }
  return in;
}

/// While it lives, the device reads what `producer` has written: afterwards `producer` waits for
/// that, whatever happens in between.
class Reading {
 public:
  Reading(Device& device, kernels::Stream producer) : device_(device), producer_(producer) {
    device.order(producer, device.stream());
  }
  Reading(const Reading&) = delete;
  Reading& operator=(const Reading&) = delete;
  ~Reading() {
    try {
      device_.order(device_.stream(), producer_);
    } catch (const Error&) {  // the device is lost, as the next call on it says
    }
  }

 private:
  Device& device_;
  kernels::Stream producer_;
};

/// Pictures in device memory, and which pixel of the whole picture their first one is.
struct Window {
  kernels::FrameBatch pictures;
  Index x0 = 0, y0 = 0;

  kernels::FrameBatch at(Index x, Index y) const {
    kernels::FrameBatch moved = pictures;
    moved.first += (y - y0) * pictures.stride + (x - x0) * pictures.pixel_bytes;
    return moved;
  }
};

/// Frames that the same passes prepare: those in host memory and the device's may mix, and the NV12
/// ones are RGB by then.
struct Kind {
  explicit Kind(const Frame& f) : width(f.width), height(f.height), format(f.format) {
    if (f.device != nullptr) format = interleaved(f.device->format);
  }
  bool operator==(const Kind&) const = default;

  Index width, height;
  PixelFormat format;
};

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
    const Kind kind(*frames[0]);
    const Index channels = channels_of(kind.format), row = kind.width * channels;
    const View bytes = be_.scratch({frames_, kind.height, row}, DType::u8);
    auto* to = bytes.as<std::uint8_t>();
    for (const Frame* frame : frames) {
      if (frame->device != nullptr)
        copy(to, checked(*frame->device, kind.width, kind.height), kind, row);
      else
        upload(to, *frame, row);
      to += row * kind.height;
    }
    const bool blue_first = kind.format == PixelFormat::bgr || kind.format == PixelFormat::bgra;
    return {
        {bytes.as<std::uint8_t>(), row * kind.height, row, static_cast<int>(channels), blue_first}};
  }

  /// The pixels h.range x v.range of the scaled pictures.
  Window resample(Window in, const AxisWeights& h, const AxisWeights& v) {
    if (!h.copy) in = pass(in, h, h.range, v.source, false);
    if (!v.copy) in = pass(in, v, h.range, v.range, true);
    return in;
  }

  void normalise(float* pixels, const kernels::FrameBatch& in, const PreprocessConfig& config) {
    std::vector<float> values;
    for (std::size_t c = 0; c < 3; ++c) {
      const auto channel = pllava::detail::normalised_values(c, config);
      values.insert(values.end(), channel.begin(), channel.end());
    }
    Device::check(kernels::normalize(pixels, in, uploaded<float>(values, DType::f32), frames_,
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

  void copy(std::uint8_t* to, const DevicePixels& from, const Kind& kind, Index row) {
    if (from.format != DeviceFormat::nv12)
      return device_.copy_rows(to, from.data, from.stride, row, kind.height);
    Device::check(kernels::nv12_to_rgb(to, nv12(from), static_cast<int>(kind.width),
                                       static_cast<int>(kind.height), device_.stream()),
                  "nv12_to_rgb");
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

Frame borrow(const DevicePixels& pixels, Index width, Index height,
             std::shared_ptr<const void> owner) {
  Frame frame;
  frame.device = std::make_shared<const DevicePixels>(checked(pixels, width, height));
  frame.width = width, frame.height = height;
  frame.owner = std::move(owner);
  return frame;
}

void Backend::preprocess(View pixels, std::span<const Frame> frames,
                         const PreprocessConfig& config) {
  if (frames.empty()) throw MediaError("", "a clip without frames");
  std::vector<kernels::Stream> producers;
  for (const Frame& f : frames) {  // throws what is wrong with it
    if (f.device == nullptr) {
      Frame::borrow(f.data, f.width, f.height, f.format, f.stride);
      continue;
    }
    const DevicePixels p = checked(*f.device, f.width, f.height);
    check_location(*device_, p.data, f);
    if (p.format == DeviceFormat::nv12) check_location(*device_, p.chroma, f);
    if (std::find(producers.begin(), producers.end(), p.stream) == producers.end())
      producers.push_back(p.stream);
  }
  const StageOneSize size = stage_one_size(frames[0].width, frames[0].height, config);
  const Index picture = 3 * config.image_size * config.image_size;
  std::list<Reading> reading;
  for (const kernels::Stream producer : producers) reading.emplace_back(*device_, producer);
  for (std::size_t begin = 0, end = 0; begin < frames.size(); begin = end) {
    std::vector<const Frame*> group;
    for (; end < frames.size() && Kind(frames[end]) == Kind(frames[begin]); ++end)
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
