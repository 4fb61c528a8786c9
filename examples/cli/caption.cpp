// caption and ask: independent questions.
#include "answer.hpp"
#include "clip.hpp"
#include "commands.hpp"
#include "output.hpp"
#include "watched.hpp"

namespace cli {

int caption(const Context& context) {
  const Options& o = context.options;
  const std::string question = default_question(o);
  const LoadedModel model = load_model(context);
  int code = kSuccess;
  for (const std::string& video : o.videos) {
    const std::string name = display_name(video);
    try {
      Watched watched = watch(context, model, video);
      answer(context, watched, question, o.videos.size() > 1 ? name + ": " : "");
    } catch (const pllava::Error& e) {  // continue with the other videos
      if (context.interrupt.requested()) throw;
      context.status.clear();
      const std::string message = e.what();
      report_error(message.starts_with(name) ? message : name + ": " + message);
      code = kFailure;
    }
  }
  return code;
}

int ask(const Context& context) {
  const Options& o = context.options;
  const LoadedModel model = load_model(context);
  Watched watched = watch(context, model, o.videos.at(0));
  const pllava::Session::Mark seen = watched.session.mark();
  for (const std::string& question : o.questions) {
    watched.session.rewind(seen);
    answer(context, watched, question, o.questions.size() > 1 ? "> " + question + '\n' : "");
  }
  return kSuccess;
}

}  // namespace cli
