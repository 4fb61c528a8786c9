// The entry point of the tests on a GPU. Without a GPU, tests are skipped with the reason.
#define CATCH_CONFIG_RUNNER
#include <cstring>
#include <iostream>

#include "pllava/cuda.hpp"
#include "support/catch.hpp"

namespace {

constexpr int kSkipped = 77;  // SKIP_RETURN_CODE in tests/CMakeLists.txt

bool only_lists(int argc, char** argv) {
  for (int i = 1; i < argc; ++i)
    if (std::strncmp(argv[i], "--list", 6) == 0) return true;
  return false;
}

}  // namespace

int main(int argc, char** argv) {
  if (!only_lists(argc, argv)) {
    try {
      const pllava::cuda::Backend backend;
    } catch (const pllava::cuda::Error& e) {
      std::cout << "skipped: " << e.what() << '\n';
      return kSkipped;
    }
  }
  return Catch::Session().run(argc, argv);
}
