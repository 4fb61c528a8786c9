// Captions one video: caption MODEL_DIRECTORY VIDEO
#include <iostream>

#include "pllava/media/video.hpp"
#include "pllava/pllava.hpp"

int main(int argc, char** argv) try {
  if (argc != 3) {
    std::cerr << "usage: caption MODEL_DIRECTORY VIDEO\n";
    return 2;
  }
  const auto model = pllava::Pipeline::load(argv[1]);
  const auto clip = pllava::Video::open(argv[2]).sample(model.frames());
  std::cout << model.watch(clip).ask("Describe the video in details.").text << '\n';
} catch (const pllava::Error& e) {
  std::cerr << "caption: " << e.what() << '\n';
  return 1;
}
