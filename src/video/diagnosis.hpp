// Why a file is not a video that can be read.
#pragma once

#include <string>

namespace pllava::detail {

/// What is wrong with the file at `path`, as the end of a message: "is an HTML page, ...". Empty if
/// nothing is known.
std::string diagnose_file(const std::string& path);

}  // namespace pllava::detail
