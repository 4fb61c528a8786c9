#include "output.hpp"

#include <algorithm>
#include <cerrno>
#include <iostream>
#include <string>
#include <system_error>

namespace cli {

void write_output(std::string_view text) {
  errno = 0;
  if (!(std::cout << text << std::flush))
    throw OutputError("standard output: " + std::generic_category().message(errno));
}

void report_error(std::string_view message) {
  std::string line = "pllava: " + std::string(message);
  while (line.back() == '\n' || line.back() == ' ') line.pop_back();
  std::ranges::replace_if(
      line, [](char c) { return static_cast<unsigned char>(c) < ' '; }, ' ');
  std::cerr << line + '\n' << std::flush;
}

}  // namespace cli
