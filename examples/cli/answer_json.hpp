// The JSON output of an answer.
#pragma once

#include <string>

#include "watched.hpp"

namespace cli {

/// One object and a newline. Load, decode, preprocess, vision and project times are measured once
/// per video and repeated in each of its answers. `prefill` is the time of the video plus that of
/// the question.
std::string to_json_line(const Watched& watched, const pllava::Answer& answer);

}  // namespace cli
