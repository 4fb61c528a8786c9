// Image files: JPEG, PNG, BMP and 8-bit PNM. Part of the component video.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>

#include "pllava/media/image.hpp"

namespace pllava {

/// Default limit for the pixels of an image or video frame: 8192 x 8192.
inline constexpr Index kDefaultMaxPixels = Index{8192} * 8192;

/// Reads an image file as dense RGB. Grey is repeated, alpha is dropped, 16-bit channels are
/// reduced to 8 bits; EXIF orientation is ignored, as in the reference. The decoder is stb_image:
/// JPEG values differ from libjpeg's (and so Pillow's) by a few levels; PNG, BMP and PNM are exact.
/// Throws MediaError: missing, empty, damaged or unknown file, or more than `max_pixels` pixels.
Frame load_image(const std::filesystem::path& path, Index max_pixels = kDefaultMaxPixels);

/// Decodes an image file in memory; `name` is for messages.
Frame decode_image(std::span<const std::byte> file, const std::string& name = "image",
                   Index max_pixels = kDefaultMaxPixels);

/// Whether a file that starts with these bytes has the signature of a format of `decode_image`.
bool is_image(std::span<const std::byte> head) noexcept;

}  // namespace pllava
