// Reads pages of image files. A TIFF file can have several; other images have one.
#pragma once

#include <cstddef>
#include <filesystem>
#include <istream>
#include <memory>
#include <span>
#include <vector>

#include "pllava/media/video.hpp"

namespace pllava::detail {

struct ImagePage {
  std::filesystem::path path;
  int page = 0;
  std::shared_ptr<const std::vector<std::byte>> bytes = {};  ///< the file, if it is in memory
};

/// Whether a file that starts with these bytes is an image for read_page: is_image, WebP or TIFF.
bool is_still_image(std::span<const std::byte> head) noexcept;

/// Whether the file is a PNG with an animation, which FFmpeg reads as a video.
bool is_animated_png(std::istream& file);

/// The number of pages of an image file, at least 1. Files that cannot be read have 1.
int count_pages(const std::filesystem::path& path);
int count_pages(std::span<const std::byte> file);

/// Whether the bytes begin like a WebP file with an animation, see webp_source.hpp.
bool is_animated_webp(std::span<const std::byte> head) noexcept;

/// The page as RGB. Throws MediaError naming the file, OutOfMemoryError.
Frame read_page(const ImagePage& page, const VideoOptions& options);

/// The bytes of an image file. Throws MediaError: it cannot be read, or has more than 2 GiB;
/// OutOfMemoryError.
std::vector<std::byte> read_image_file(const std::filesystem::path& path);

}  // namespace pllava::detail
