// Answers a question about the last seconds of a camera, every two seconds:
//   camera MODEL_DIRECTORY SOURCE [QUESTION]
// SOURCE is /dev/video0, an rtsp:// address, or a file. A camera that disappears is opened again.
#include <iostream>
#include <optional>
#include <string>

#include "pllava/media/video.hpp"
#include "pllava/pllava.hpp"

int main(int argc, char** argv) try {
  if (argc != 3 && argc != 4) {
    std::cerr << "usage: camera MODEL_DIRECTORY SOURCE [QUESTION]\n";
    return 2;
  }
  const std::string question = argc == 4 ? argv[3] : "What just happened?";
  const auto model = pllava::Pipeline::load(argv[1]);
  auto window = model.window();  // encodes each frame once
  auto camera = pllava::Video::open(argv[2], {.fps = 4, .reconnect = {.enabled = true}});
  std::optional<pllava::Session> session;
  double next_question = 2;
  while (const auto frame = camera.next()) {
    window.push(*frame);
    if (frame->time < next_question) continue;
    next_question = frame->time + 2;
    if (session)
      session->slide_to(window.video());
    else
      session = model.watch(window.video());
    const auto answer = session->ask(question, {.max_new_tokens = 32});
    std::cout << frame->time << " s: " << answer.text << std::endl;
  }
} catch (const pllava::Error& e) {
  std::cerr << "camera: " << e.what() << '\n';
  return 1;
}
