// Definitions of raw_image.hpp.
#pragma once

#include <cstddef>
#include <cstring>
#include <new>
#include <string>
#include <vector>

#include "pllava/media/detail/raw_frames_inl.hpp"
#include "pllava/media/detail/rgb_frame.hpp"
#include "pllava/media/raw_image.hpp"

namespace pllava {
namespace detail {

/// The 8-bit layouts without subsampling, as formats of a frame.
inline bool is_frame_layout(PixelLayout layout) noexcept {
  return layout != PixelLayout::nv12 && layout != PixelLayout::yuyv &&
         layout != PixelLayout::grey16;
}
inline PixelFormat frame_format(PixelLayout layout) noexcept {
  switch (layout) {
    case PixelLayout::bgr: return PixelFormat::bgr;
    case PixelLayout::grey: return PixelFormat::grey;
    case PixelLayout::rgba: return PixelFormat::rgba;
    case PixelLayout::bgra: return PixelFormat::bgra;
    default: return PixelFormat::rgb;
  }
}

/// Bytes of a row of the first plane.
inline Index row_bytes(const RawImage& image) noexcept {
  if (is_frame_layout(image.layout)) return image.width * channels_of(frame_format(image.layout));
  return image.layout == PixelLayout::nv12 ? image.width : 2 * image.width;
}
inline Index chroma_row_bytes(const RawImage& image) noexcept {
  return (image.width + 1) / 2 * 2;
}

/// Appends the rows of a plane, densely packed.
inline void append_rows(std::vector<std::uint8_t>& bytes, const Rows& rows, Index count,
                        Index row_bytes) {
  for (Index y = 0; y < count; ++y) bytes.insert(bytes.end(), rows[y], rows[y] + row_bytes);
}

}  // namespace detail

PLLAVA_INLINE void require_valid(const RawImage& image) {
  if (image.width < 1 || image.height < 1 || image.width > detail::kMaxSide ||
      image.height > detail::kMaxSide)
    throw MediaError("", "an image of " + std::to_string(image.width) + "x" +
                             std::to_string(image.height) + " pixels; expected 1 to " +
                             std::to_string(detail::kMaxSide) + " on each side");
  if (image.layout == PixelLayout::yuyv && image.width % 2 != 0)
    throw MediaError("", "a YUYV image with the odd width " + std::to_string(image.width));
  detail::Rows(image.pixels, detail::row_bytes(image), "an image");
  if (image.layout == PixelLayout::nv12)
    detail::Rows(image.chroma, detail::chroma_row_bytes(image), "the chroma of NV12");
}

PLLAVA_INLINE RawImage owned(const RawImage& image) {
  require_valid(image);
  if (image.owner != nullptr) return image;
  const Index row = detail::row_bytes(image), chroma_row = detail::chroma_row_bytes(image);
  const Index chroma_rows = image.layout == PixelLayout::nv12 ? (image.height + 1) / 2 : 0;
  const auto bytes = static_cast<std::size_t>(row * image.height + chroma_row * chroma_rows);
  auto copy = std::make_shared<std::vector<std::uint8_t>>();
  try {
    copy->reserve(bytes);
  } catch (const std::bad_alloc&) {
    throw OutOfMemoryError("an image", bytes);
  }
  detail::append_rows(*copy, detail::Rows(image.pixels, row, "an image"), image.height, row);
  if (chroma_rows > 0)
    detail::append_rows(*copy, detail::Rows(image.chroma, chroma_row, "the chroma of NV12"),
                        chroma_rows, chroma_row);
  RawImage result = image;
  result.pixels = {copy->data(), row};
  if (chroma_rows > 0) result.chroma = {copy->data() + row * image.height, chroma_row};
  result.owner = std::move(copy);
  return result;
}

PLLAVA_INLINE Frame to_frame(const RawImage& image) {
  require_valid(image);
  switch (image.layout) {
    case PixelLayout::nv12:
      return rgb_from_nv12(image.pixels, image.chroma, image.width, image.height, image.encoding);
    case PixelLayout::yuyv:
      return rgb_from_yuyv(image.pixels, image.width, image.height, image.encoding);
    case PixelLayout::grey16: return rgb_from_grey16(image.pixels, image.width, image.height);
    default: break;
  }
  const RawImage kept = owned(image);
  return Frame::share(kept.owner, static_cast<const std::uint8_t*>(kept.pixels.data), kept.width,
                      kept.height, detail::frame_format(kept.layout), kept.pixels.stride);
}

}  // namespace pllava
