// A question and its answer on stdout.
#pragma once

#include <string>

#include "watched.hpp"

namespace cli {

/// The question of a command that brings none.
std::string default_question(const Options& options);

/// Asks, and writes the answer to stdout: one JSON object, or `label` and the text. A terminal sees
/// the text as it comes. Throws what Session::ask does, and OutputError.
void answer(const Context& context, Watched& watched, const std::string& question,
            const std::string& label = {});

}  // namespace cli
