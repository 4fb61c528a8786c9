// A sequence of image files as a video.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "image_files.hpp"
#include "source.hpp"

namespace pllava::detail {

/// One frame for each page of each image file. Throws MediaError for an empty list or an unreadable
/// first image.
std::unique_ptr<Video::Source> make_image_source(std::string name, const VideoOptions& options,
                                                 const ImageFiles& files);
/// The pages of an image file in memory.
std::unique_ptr<Video::Source> make_image_source(
    std::string name, const VideoOptions& options,
    std::shared_ptr<const std::vector<std::byte>> bytes);

}  // namespace pllava::detail
