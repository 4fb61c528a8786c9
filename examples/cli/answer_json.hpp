// An answer as the program's JSON.
#pragma once

#include <string>

#include "watched.hpp"

namespace cli {

/// One object and a newline. The times of loading and watching are those of the video, the same in
/// each of its answers; `prefill` is the video's and the question's own.
std::string to_json_line(const Watched& watched, const pllava::Answer& answer);

}  // namespace cli
