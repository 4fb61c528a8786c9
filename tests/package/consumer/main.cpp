// A user's program: calls functions whose bodies live in the library, and says how it was compiled
// if they returned what they should.
#include <iostream>

#include "pllava/pllava.hpp"

int main() {
  const auto indices = pllava::eval_indices({.frames = 4, .max_frame = 7});
  if (indices.size() != 4 || indices.front() > indices.back() || indices.back() > 7) return 1;
#if defined(PLLAVA_COMPILED)
  std::cout << "compiled ";
#else
  std::cout << "header-only ";
#endif
  std::cout << PLLAVA_VERSION << '\n';
}
