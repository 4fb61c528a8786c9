// A program that calls functions of the library, checks their results and prints the mode that it
// was compiled in.
#include <iostream>

#include "pllava/pllava.hpp"

namespace {
/// Whether an error of the library is caught by its own type and by its base.
bool catches_errors() {
  const auto invalid = [] { pllava::eval_indices({.frames = 0, .max_frame = 7}); };
  bool by_type = false, by_base = false;
  try {
    invalid();
  } catch (const pllava::ArgumentError&) {
    by_type = true;
  }
  try {
    invalid();
  } catch (const pllava::Error&) {
    by_base = true;
  }
  return by_type && by_base;
}
}  // namespace

int main() {
  if (!catches_errors()) return 1;
  const auto indices = pllava::eval_indices({.frames = 4, .max_frame = 7});
  if (indices.size() != 4 || indices.front() > indices.back() || indices.back() > 7) return 1;
#if defined(PLLAVA_COMPILED)
  std::cout << "compiled ";
#else
  std::cout << "header-only ";
#endif
  std::cout << PLLAVA_VERSION << '\n';
}
