// The entry point of the tests on a GPU. Where there is none, a test is skipped and says why.
#define CATCH_CONFIG_RUNNER
#include <cstring>
#include <iostream>

#include "pllava/cuda.hpp"
#include "support/catch.hpp"

namespace {

constexpr int kSkipped = 77;  // as tests/CMakeLists.txt tells ctest

bool only_lists(int argc, char** argv) {
  for (int i = 1; i < argc; ++i)
    if (std::strncmp(argv[i], "--list", 6) == 0) return true;
  return false;
}

}  // namespace

int main(int argc, char** argv) {
  if (!only_lists(argc, argv)) {
    try {
      const pllava::cuda::Backend there;
    } catch (const pllava::cuda::Error& e) {
      std::cout << "skipped: " << e.what() << '\n';
      return kSkipped;
    }
  }
  return Catch::Session().run(argc, argv);
}
