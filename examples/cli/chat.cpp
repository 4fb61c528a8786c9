// chat: a conversation with questions from stdin.
#include <iostream>
#include <string>
#include <string_view>

#include <unistd.h>

#include "answer.hpp"
#include "commands.hpp"
#include "output.hpp"
#include "pllava/error.hpp"
#include "watched.hpp"

namespace cli {
namespace {

/// Reads a line of stdin; on a terminal, after a prompt. Returns false at the end.
bool read_line(std::string& line) {
  // A blocking read cannot be cancelled without a race, so SIGINT ends the program here.
  const Interrupt::EndsProgram guard;
  if (::isatty(STDIN_FILENO) != 0) std::cerr << "> " << std::flush;
  return static_cast<bool>(std::getline(std::cin, line));
}

/// Answers, if necessary after forgetting old questions.
void answer_in_context(const Context& context, Watched& watched, const std::string& question) {
  for (;;) {
    try {
      return answer(context, watched, question);
    } catch (const pllava::ContextError& e) {
      if (!context.options.forget_oldest)
        throw pllava::Error(std::string(e.what()) +
                            "; start a new chat, or use --forget-oldest to drop old questions");
      if (!watched.session.forget_oldest_turn(context.control())) throw;
    }
  }
}

}  // namespace

int chat(const Context& context) {
  const LoadedModel model = load_model(context);
  Watched watched = watch(context, model, context.options.videos.at(0));
  context.status.clear();
  int code = kSuccess;
  constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
  bool is_first = true;
  for (std::string line; read_line(line); is_first = false) {
    if (is_first && line.starts_with(kByteOrderMark)) line.erase(0, kByteOrderMark.size());
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    if (line.ends_with('\r')) line.pop_back();
    try {
      answer_in_context(context, watched, line);
    } catch (const pllava::Error& e) {  // the session is unchanged
      if (context.interrupt.requested()) throw;
      context.status.clear();
      report_error(e.what());
      code = kFailure;
    }
  }
  return code;
}

}  // namespace cli
