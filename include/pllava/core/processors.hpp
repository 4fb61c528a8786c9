// How many processors this process may use.
#pragma once

#include <algorithm>
#include <cmath>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>

#ifdef __linux__
#include <sched.h>
#endif

#include "pllava/config.hpp"

namespace pllava {

namespace detail {

/// The processors that a line of cpu.max of a control group grants ("150000 100000": microseconds
/// of a period), rounded up; `most` where it says "max" or nothing that can be read.
inline Index granted_processors(const std::string& line, Index most) {
  std::istringstream words(line);
  double quota = 0, period = 0;
  if (!(words >> quota >> period) || !(quota > 0) || !(period > 0)) return most;
  return static_cast<Index>(std::clamp(std::ceil(quota / period), 1.0, static_cast<double>(most)));
}

/// The same for the control group (version 2) of this process and those above it.
inline Index granted_processors(Index most) {
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    if (!line.starts_with("0::/")) continue;
    std::string path = line.substr(3);
    for (;;) {
      std::ifstream file("/sys/fs/cgroup" + path + "/cpu.max");
      std::string limit;
      if (std::getline(file, limit)) most = granted_processors(limit, most);
      if (path.empty()) break;
      path.erase(path.rfind('/'));
    }
  }
  return most;
}

}  // namespace detail

/// Processors that the calling thread may run on, or fewer where a container's share of processor
/// time is less; at least 1.
inline Index available_processors() {
  Index count = std::max<Index>(1, static_cast<Index>(std::thread::hardware_concurrency()));
#ifdef __linux__
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) == 0)
    count = std::max<Index>(1, CPU_COUNT(&allowed));
  count = detail::granted_processors(count);
#endif
  return count;
}

}  // namespace pllava
