// Writes a clip of twelve seconds, used as cat.mp4 by the documentation and the examples.
#include <exception>
#include <iostream>

#include "support/clip_writer.hpp"

int main(int argc, char** argv) try {
  if (argc != 2) {
    std::cerr << "usage: write_cat FILE\n";
    return 2;
  }
  test::ClipSpec spec;
  spec.frames = 120;
  spec.fps = 10;
  test::write_clip(argv[1], spec);
} catch (const std::exception& e) {
  std::cerr << "write_cat: " << e.what() << '\n';
  return 1;
}
