// A shared library that uses pllava; host.cpp does not.
#include "pllava/pllava.hpp"

long long plugin_answer();

long long plugin_answer() {
  return static_cast<long long>(pllava::demo_indices(100, 42).size());
}
