// A sequence of image files as a video.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "source.hpp"

namespace pllava::detail {

/// One image file per frame. Throws MediaError for an empty list or an unreadable first image.
std::unique_ptr<Video::Source> make_image_source(std::string name, const VideoOptions& options,
                                                 std::vector<std::filesystem::path> files);

}  // namespace pllava::detail
