// Which of a model's two directories a file is read from.
#pragma once

#include <filesystem>

#include "pllava/checkpoint/checkpoint.hpp"

namespace pllava::detail {

/// model_directory of options.base; empty if there is no base.
std::filesystem::path base_directory(const LoadOptions& options);

/// The directory that has file `name`: `directory`, else `base` if there is one.
const std::filesystem::path& place_of(const char* name, const std::filesystem::path& directory,
                                      const std::filesystem::path& base);

}  // namespace pllava::detail
