// The second of two translation units that include everything header-only: a function body without
// PLLAVA_INLINE would be defined twice and the program would not link.
#include "pllava/calibration/calibrate.hpp"
#include "pllava/pllava.hpp"

pllava::Index frames_from_the_other_unit();

pllava::Index frames_from_the_other_unit() {
  return static_cast<pllava::Index>(pllava::eval_indices({.frames = 16, .max_frame = 31}).size());
}
