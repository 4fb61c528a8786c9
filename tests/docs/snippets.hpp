// Included by the programs that are generated from the C++ blocks of the documentation.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <deque>
#include <exception>
#include <iomanip>
#include <iostream>
#include <memory>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "pllava/calibration/calibrate.hpp"
#include "pllava/media/video.hpp"
#include "pllava/models/text_architecture.hpp"
#include "pllava/pllava.hpp"
#include "pllava/reference/backend.hpp"

namespace docs {

inline int failures = 0;
inline std::ostringstream printed;  // output of the running block since the last `expect`

inline void show() {
  std::clog << printed.str() << std::flush;
  printed.str({});
}

/// Runs a block and captures its output.
inline void run(const char* place, void (*block)()) {
  std::clog << place << '\n';
  std::streambuf* const console = std::cout.rdbuf(printed.rdbuf());
  try {
    block();
  } catch (const std::exception& e) {
    std::clog << place << ": failed: " << e.what() << '\n';
    failures = 1;
  }
  std::cout.rdbuf(console);
  show();
}

/// Editors remove blanks at the ends of lines, so they are ignored in comparisons.
inline std::string without_trailing_blanks(const std::string& text) {
  std::string result;
  for (const char c : text) {
    if (c == '\n') result.erase(result.find_last_not_of(' ') + 1);
    result += c;
  }
  return result;
}

/// Compares the output of the running block with that of the page.
inline void expect(const char* place, const std::string& output) {
  if (without_trailing_blanks(printed.str()) != without_trailing_blanks(output)) {
    std::clog << place << ": expected the output\n" << output << "but got:\n";
    failures = 1;
  }
  show();
}

}  // namespace docs
