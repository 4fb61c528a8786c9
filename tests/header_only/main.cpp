// The first of two translation units that include everything header-only; see other.cpp.
#include <cstdio>

#include "pllava/calibration/calibrate.hpp"
#include "pllava/pllava.hpp"

pllava::Index frames_from_the_other_unit();

int main() {
  const auto indices = pllava::eval_indices({.frames = 16, .max_frame = 31});
  std::printf("pllava %s, header-only\n", PLLAVA_VERSION);
  return indices.size() == 16 && frames_from_the_other_unit() == 16 ? 0 : 1;
}
