// Streams the answers to several questions about one clip, then to a follow-up question:
// ask MODEL_DIRECTORY VIDEO QUESTION...
#include <iostream>

#include "pllava/media/video.hpp"
#include "pllava/pllava.hpp"

int main(int argc, char** argv) try {
  if (argc < 4) {
    std::cerr << "usage: ask MODEL_DIRECTORY VIDEO QUESTION...\n";
    return 2;
  }
  const auto model = pllava::Pipeline::load(argv[1]);
  const auto clip = pllava::Video::open(argv[2]).sample(model.frames());
  auto session = model.watch(clip);  // encodes and prefills the video, once
  const auto ask = [&session](const std::string& question) {
    std::cout << "> " << question << '\n';
    const auto answer = session.ask(question, {.max_new_tokens = 48}, [](std::string_view piece) {
      std::cout << piece << std::flush;
      return true;  // false would end the answer here
    });
    std::cout << "\n[" << answer.output_ids.size() << " tokens, ended by "
              << pllava::name_of(answer.finish_reason) << "]\n";
  };

  const auto video = session.mark();
  for (int i = 3; i < argc; ++i) {
    session.rewind(video);  // drops the previous question, keeps the video
    ask(argv[i]);
  }
  ask("Why do you think so?");  // no rewind: the context has the last question and answer
} catch (const pllava::Error& e) {
  std::cerr << "ask: " << e.what() << '\n';
  return 1;
}
