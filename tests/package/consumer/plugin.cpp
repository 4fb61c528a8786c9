// A user's shared library with pllava inside; host.cpp knows nothing of pllava.
#include "pllava/pllava.hpp"

long long plugin_answer();

long long plugin_answer() {
  return static_cast<long long>(pllava::demo_indices(100, 42).size());
}
