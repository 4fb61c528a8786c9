// Describes the last eight seconds of a camera, every four seconds: camera MODEL_DIRECTORY SOURCE
// SOURCE is /dev/video0, an rtsp:// address, or a file.
#include <deque>
#include <iostream>

#include "pllava/media/video.hpp"
#include "pllava/pllava.hpp"

int main(int argc, char** argv) try {
  if (argc != 3) {
    std::cerr << "usage: camera MODEL_DIRECTORY SOURCE\n";
    return 2;
  }
  const auto model = pllava::Pipeline::load(argv[1]);
  auto camera = pllava::Video::open(argv[2], {.fps = 2});
  const auto kept = static_cast<std::size_t>(model.frames());
  std::deque<pllava::Frame> recent;  // copies of a Frame share its pixels
  int since_answer = 0;
  for (const pllava::Frame& frame : camera) {
    recent.push_back(frame);
    if (recent.size() > kept) recent.pop_front();
    if (++since_answer < 8 || recent.size() < kept) continue;
    since_answer = 0;
    pllava::Clip clip;
    clip.frames.assign(recent.begin(), recent.end());
    const auto answer = model.watch(clip).ask("What just happened?", {.max_new_tokens = 32});
    std::cout << frame.time << " s: " << answer.text << std::endl;
  }
} catch (const pllava::Error& e) {
  std::cerr << "camera: " << e.what() << '\n';
  return 1;
}
