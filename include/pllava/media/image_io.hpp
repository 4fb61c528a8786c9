// Image files: JPEG, PNG, BMP and binary PNM (P5, P6). Part of the component video.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>

#include "pllava/media/image.hpp"

namespace pllava {

/// Default limit for the pixels of an image or video frame: 8192 x 8192.
inline constexpr Index kDefaultMaxPixels = Index{8192} * 8192;

struct ImageOptions {
  Index max_pixels = kDefaultMaxPixels;  ///< larger images throw MediaError
  /// Turn and mirror the image as its EXIF orientation requests (JPEG, PNG). The reference ignores
  /// EXIF.
  bool apply_orientation = true;
};

/// Reads an image file as dense RGB. Grey is repeated; transparent pixels are over white, as in
/// browsers; 16-bit channels and PNM files with other maximum values are scaled to 8 bits; in
/// 16-bit grey, the fewest of 10, 12, 14 and 16 bits that hold all values are the full range. The
/// decoder of JPEG, PNG and BMP is stb_image: JPEG values differ from libjpeg's (and so Pillow's)
/// by a few levels; the other formats are exact.
/// Throws MediaError: missing, empty, damaged or unknown file, or more than `max_pixels` pixels.
Frame load_image(const std::filesystem::path& path, const ImageOptions& options = {});

/// Decodes an image file in memory; `name` is for messages.
Frame decode_image(std::span<const std::byte> file, const std::string& name = "image",
                   const ImageOptions& options = {});

/// Whether a file that starts with these bytes has the signature of a format of `decode_image`.
bool is_image(std::span<const std::byte> head) noexcept;

}  // namespace pllava
