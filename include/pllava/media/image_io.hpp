// Picture files: JPEG, PNG, BMP, PNM of 8 bits. Part of the component video.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>

#include "pllava/media/image.hpp"

namespace pllava {

/// Most pixels of a picture or video frame that are accepted by default: 8192 x 8192.
inline constexpr Index kDefaultMaxPixels = Index{8192} * 8192;

/// Reads a picture file as dense RGB. Grey is repeated, alpha dropped, 16 bits cut to 8; EXIF
/// orientation is ignored, as the reference does. Decoded by stb_image, whose JPEG arithmetic
/// differs from libjpeg's (and so Pillow's) by a few grey levels; PNG, BMP and PNM are exact.
/// Throws MediaError: missing, empty, damaged or unknown file, or more than `max_pixels`.
Frame load_image(const std::filesystem::path& path, Index max_pixels = kDefaultMaxPixels);

/// The same for a file in memory; `name` is for messages.
Frame decode_image(std::span<const std::byte> file, const std::string& name = "picture",
                   Index max_pixels = kDefaultMaxPixels);

/// Whether these first bytes of a file are those of a picture that `decode_image` reads.
bool is_image(std::span<const std::byte> head) noexcept;

}  // namespace pllava
