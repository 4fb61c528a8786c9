// A program that calls functions of the library, checks their results and prints the mode that it
// was compiled in.
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
