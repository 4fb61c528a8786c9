#include "status.hpp"

#include <cstdio>
#include <iostream>

#include <unistd.h>

namespace cli {
namespace {

constexpr const char* kEraseLine = "\r\033[K";

}  // namespace

Status::Status(bool enabled) : enabled_(enabled && ::isatty(STDERR_FILENO) != 0) {}

void Status::show(std::string_view stage, pllava::Index done, pllava::Index total) {
  if (!enabled_) return;
  const Clock::time_point now = Clock::now();
  if (stage != stage_ || done < last_) {
    stage_ = stage;
    first_time_ = now;
    first_ = done;
  }
  last_ = done;
  std::string line = std::string(stage) + ' ' + std::to_string(done) + '/' + std::to_string(total);
  if ((stage == "prefill" || stage == "generate") && done > first_)
    line += ", " + token_rate(static_cast<double>(done - first_),
                              std::chrono::duration<double>(now - first_time_).count());
  std::cerr << kEraseLine + line << std::flush;
  shown_ = true;
}

void Status::clear() {
  if (!shown_) return;
  std::cerr << kEraseLine << std::flush;
  shown_ = false;
}

void Status::note(const std::string& text) {
  if (!enabled_) return;
  clear();
  std::cerr << text + '\n' << std::flush;
}

std::string token_rate(double tokens, double seconds) {
  char text[48];
  std::snprintf(text, sizeof text, "%.1f tokens/s", seconds > 0 ? tokens / seconds : 0.0);
  return text;
}

}  // namespace cli
