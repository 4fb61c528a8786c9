#include "answer.hpp"

#include <algorithm>
#include <utility>

#include <unistd.h>

#include "answer_json.hpp"
#include "output.hpp"
#include "pllava/text/prompt.hpp"

namespace cli {
namespace {

/// Streams a label and an answer to a terminal.
class StreamedText {
 public:
  StreamedText(Status& status, std::string label) : status_(status), label_(std::move(label)) {}

  void write(std::string_view piece) { show(piece); }
  void finish() { show("\n"); }
  /// Ends the line after an error, so that the error message starts a new one.
  void abandon() {
    if (begun_) finish();
  }

 private:
  void show(std::string_view text) {
    if (!begun_) {
      status_.clear();  // it may share the terminal
      write_output(label_);
    }
    begun_ = true;
    write_output(text);
  }

  Status& status_;
  std::string label_;
  bool begun_ = false;
};

/// Asks, and streams the answer to stdout.
pllava::Answer stream(const Context& context, Watched& watched, const std::string& question,
                      const std::string& label, pllava::GenerateOptions generate) {
  // The status line and the text may share a terminal: the status line is off while text streams.
  generate.control.progress = [show = std::move(generate.control.progress)](
                                  std::string_view stage, Index done, Index total) {
    if (stage != "generate") show(stage, done, total);
  };
  StreamedText text(context.status, label);
  try {
    pllava::Answer a = watched.session.ask(question, generate, [&](std::string_view piece) {
      text.write(piece);
      return true;
    });
    text.finish();
    return a;
  } catch (const OutputError&) {
    throw;
  } catch (...) {
    text.abandon();
    throw;
  }
}

}  // namespace

std::string default_question(const Options& o) {
  if (!o.prompt.empty()) return o.prompt;
  const std::string query = o.task.empty() ? std::string() : pllava::task_prompt(o.task).query;
  return query.empty() ? kDefaultPrompt : query;
}

void answer(const Context& context, Watched& watched, const std::string& question,
            const std::string& label) {
  pllava::GenerateOptions generate = context.options.generate;
  generate.control = context.control();
  const bool json = context.options.json;
  const bool streams = !json && ::isatty(STDOUT_FILENO) != 0;
  const pllava::Answer a = streams ? stream(context, watched, question, label, generate)
                                   : watched.session.ask(question, generate);
  context.status.clear();
  if (json)
    write_output(to_json_line(watched, a));
  else if (!streams)
    write_output(label + a.text + '\n');
  const auto tokens = static_cast<double>(a.output_ids.size());
  context.status.note(std::to_string(a.output_ids.size()) + " tokens, " +
                      token_rate(tokens - 1, a.generate_ms / 1000));
}

}  // namespace cli
