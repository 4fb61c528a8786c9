// Asks a question and writes the answer to stdout.
#pragma once

#include <string>

#include "watched.hpp"

namespace cli {

/// The question of a command without a QUESTION argument: --prompt, else that of the task, else
/// kDefaultPrompt.
std::string default_question(const Options& options);

/// Asks, and writes the answer to stdout: one JSON object, or `label` and the text, streamed if
/// stdout is a terminal. Throws the errors of Session::ask, and OutputError.
void answer(const Context& context, Watched& watched, const std::string& question,
            const std::string& label = {});

}  // namespace cli
