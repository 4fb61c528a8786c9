#include "output.hpp"

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

namespace {

/// One printable line: control characters become spaces, a long message loses its middle. Messages
/// quote files, which can contain anything.
std::string printable(std::string_view message) {
  constexpr std::size_t kMaxBytes = 4096;
  std::string line(message);
  if (line.size() > kMaxBytes) line.replace(kMaxBytes / 2, line.size() - kMaxBytes, " [...] ");
  while (line.ends_with('\n') || line.ends_with(' ')) line.pop_back();
  for (std::size_t i = 0; i < line.size(); ++i) {
    const auto c = static_cast<unsigned char>(line[i]);
    const auto next = i + 1 < line.size() ? static_cast<unsigned char>(line[i + 1]) : 0u;
    if (c < ' ' || c == 0x7f) line[i] = ' ';
    // U+0080 to U+009F, which terminals execute like escape sequences.
    if (c == 0xc2 && next >= 0x80 && next < 0xa0) line[i] = line[i + 1] = ' ';
  }
  return line;
}

void write_message(std::string_view label, std::string_view message) {
  std::cerr << std::string(label) + printable(message) + '\n' << std::flush;
}

}  // namespace

void report_error(std::string_view message) {
  write_message("pllava: ", message);
}

void report_warning(std::string_view message) {
  write_message("pllava: warning: ", message);
}

}  // namespace cli
