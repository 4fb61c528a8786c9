// Preprocessing on the device. Consecutive frames of one size and format form a group; the host
// plans the resampling passes of a group, and the device runs each pass over all its frames.
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
#include "pllava/media/detail/yuv.hpp"

namespace pllava::cuda {

namespace {

using pllava::detail::AxisWeights;

std::string size_text(Index width, Index height) {
  return std::to_string(width) + "x" + std::to_string(height);
}

/// The format of the interleaved pixels; NV12 is converted to RGB.
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

/// Fills in the strides. Throws MediaError for an invalid description.
DevicePixels checked(DevicePixels p, Index width, Index height) {
  const bool nv12 = p.format == DeviceFormat::nv12;
  // Frame::borrow() checks the description and does not read pixels.
  p.stride = Frame::borrow(static_cast<const std::uint8_t*>(p.data), width, height,
                           nv12 ? PixelFormat::grey : interleaved(p.format), p.stride)
                 .stride;
  if (!nv12) return p;
  const std::string name = "an NV12 frame of " + size_text(width, height);
  if (p.chroma == nullptr) throw MediaError("", name + " has no chroma plane");
  if (width % 2 != 0 || height % 2 != 0) throw MediaError("", name + "; expected even sides");
  if (p.chroma_stride == 0) p.chroma_stride = width;
  if (p.chroma_stride < width)
    throw MediaError("", name + " has chroma rows " + std::to_string(p.chroma_stride) +
                             " bytes apart; expected at least " + std::to_string(width));
  return p;
}

/// Throws MediaError unless `memory` can be read on the device.
void check_location(const Device& device, const void* memory, const Frame& frame) {
  const int found = device.device_of(memory);
  if (found != device.ordinal())
    throw MediaError("",
                     "a frame of " + size_text(frame.width, frame.height) + " is in " +
                         (found < 0 ? "host memory" : "memory of GPU " + std::to_string(found)) +
                         "; expected memory of GPU " + std::to_string(device.ordinal()));
}

kernels::Nv12 nv12(const DevicePixels& p) {
  kernels::Nv12 in;
  in.luma = static_cast<const std::uint8_t*>(p.data), in.luma_stride = p.stride;
  in.chroma = static_cast<const std::uint8_t*>(p.chroma), in.chroma_stride = p.chroma_stride;
  const pllava::detail::YuvCoefficients f = pllava::detail::yuv_coefficients(p.encoding);
  in.luma_offset = f.luma_offset, in.luma_scale = f.luma_scale;
  in.red_cr = f.red_cr, in.green_cb = f.green_cb;
  in.green_cr = f.green_cr, in.blue_cb = f.blue_cb;
  return in;
}

/// Orders the device's reads of frames with the stream that writes them: the device waits for the
/// producer, and from the destruction on the producer waits for the device, also after an error.
class ReadDependency {
 public:
  ReadDependency(Device& device, kernels::Stream producer) : device_(device), producer_(producer) {
    device.wait_for(device.stream(), producer);
  }
  ReadDependency(const ReadDependency&) = delete;
  ReadDependency& operator=(const ReadDependency&) = delete;
  ~ReadDependency() {
    try {
      device_.wait_for(producer_, device_.stream());
    } catch (const Error&) {  // the device has failed; the next call on it throws
    }
  }

 private:
  Device& device_;
  kernels::Stream producer_;
};

/// A window of frames in device memory. The first pixel is (x0, y0) of the whole frame.
struct Window {
  kernels::FrameBatch frames;
  Index x0 = 0, y0 = 0;

  /// The frames from pixel (x, y) of the whole frame on.
  kernels::FrameBatch at(Index x, Index y) const {
    kernels::FrameBatch moved = frames;
    moved.first += (y - y0) * frames.stride + (x - x0) * frames.pixel_bytes;
    return moved;
  }
};

/// Size and format of a frame in the group's buffer. Frames in host and in device memory may be in
/// one group; NV12 frames count as RGB.
struct FrameLayout {
  explicit FrameLayout(const Frame& f) : width(f.width), height(f.height), format(f.format) {
    if (f.device != nullptr) format = interleaved(f.device->format);
  }
  bool operator==(const FrameLayout&) const = default;

  Index width, height;
  PixelFormat format;
};

/// Resample::taps: of each output the first input relative to `begin`, the offset into the weights
/// and their count.
std::vector<std::int32_t> taps_from(const AxisWeights& axis, Index begin) {
  std::vector<std::int32_t> taps;
  for (const AxisWeights::Taps& t : axis.taps)
    for (const auto value : {t.first - begin, static_cast<Index>(t.offset), t.count})
      taps.push_back(static_cast<std::int32_t>(value));
  return taps;
}

}  // namespace

/// Runs the passes of one group. Results are in scratch memory of the enclosing scope.
class Resampler {
 public:
  Resampler(Backend& be, Device& device, int frames) : be_(be), device_(device), frames_(frames) {}

  /// Copies the frames to one dense buffer.
  Window gather(std::span<const Frame* const> frames) {
    const FrameLayout layout(*frames[0]);
    const Index channels = channels_of(layout.format), row_bytes = layout.width * channels;
    const View bytes = be_.scratch({frames_, layout.height, row_bytes}, DType::u8);
    auto* to = bytes.as<std::uint8_t>();
    for (const Frame* frame : frames) {
      if (frame->device != nullptr)
        copy(to, checked(*frame->device, layout.width, layout.height), layout, row_bytes);
      else
        upload(to, *frame, row_bytes);
      to += row_bytes * layout.height;
    }
    const bool blue_first = layout.format == PixelFormat::bgr || layout.format == PixelFormat::bgra;
    return {{bytes.as<std::uint8_t>(), row_bytes * layout.height, row_bytes,
             static_cast<int>(channels), blue_first}};
  }

  /// The window h.range x v.range of the resampled frames.
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
  void upload(std::uint8_t* to, const Frame& frame, Index row_bytes) {
    device_.to_device(to, row_bytes * frame.height, [&](std::byte* out, Index begin, Index size) {
      for (const Index end = begin + size;
           begin < end;) {  // a chunk may start and end within a row
        const Index x = begin % row_bytes, n = std::min(row_bytes - x, end - begin);
        std::memcpy(out, frame.data + begin / row_bytes * frame.stride + x,
                    static_cast<std::size_t>(n));
        out += n, begin += n;
      }
    });
  }

  void copy(std::uint8_t* to, const DevicePixels& from, const FrameLayout& layout,
            Index row_bytes) {
    if (from.format != DeviceFormat::nv12)
      return device_.copy_rows(to, from.data, from.stride, row_bytes, layout.height);
    Device::check(kernels::nv12_to_rgb(to, nv12(from), static_cast<int>(layout.width),
                                       static_cast<int>(layout.height), device_.stream()),
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
    // Along the resampled axis taps are relative to axis.source.begin; across it the window starts
    // at x or y.
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
  for (const Frame& f : frames) {  // checks every frame before any is read
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
  const Index frame_size = 3 * config.image_size * config.image_size;
  std::list<ReadDependency> dependencies;
  for (const kernels::Stream producer : producers) dependencies.emplace_back(*device_, producer);
  for (std::size_t begin = 0, end = 0; begin < frames.size(); begin = end) {
    std::vector<const Frame*> group;
    for (; end < frames.size() && FrameLayout(frames[end]) == FrameLayout(frames[begin]); ++end)
      group.push_back(&frames[end]);
    const Frame& first = *group[0];
    const StageOneSize size = stage_one_size(first.width, first.height, config);
    const pllava::detail::CropPlan plan(first.width, first.height, size, config);
    auto scope = this->scope();
    Resampler resampler(*this, *device_, static_cast<int>(group.size()));
    Window window = resampler.gather(group);
    if (plan.stage_one) window = resampler.resample(window, plan.stage_one->h, plan.stage_one->v);
    window.x0 -= plan.left;
    window.y0 -= plan.top;
    const auto& [h, v] = plan.stage_two;
    window = resampler.resample(window, h, v);
    resampler.normalise(pixels.as<float>() + static_cast<Index>(begin) * frame_size,
                        window.at(h.range.begin, v.range.begin), config);
  }
}

}  // namespace pllava::cuda
