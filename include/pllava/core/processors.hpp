// Number of processors that this process may use.
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

/// Processors that a line of a control group's cpu.max grants ("150000 100000": quota and period in
/// microseconds), rounded up, at most `max`. `max` for "max" or an invalid line.
inline Index granted_processors(const std::string& line, Index max) {
  std::istringstream words(line);
  double quota = 0, period = 0;
  if (!(words >> quota >> period) || !(quota > 0) || !(period > 0)) return max;
  return static_cast<Index>(std::clamp(std::ceil(quota / period), 1.0, static_cast<double>(max)));
}

/// The same for the control group (version 2) of this process and all its ancestors.
inline Index granted_processors(Index max) {
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    if (!line.starts_with("0::/")) continue;
    std::string path = line.substr(3);
    for (;;) {
      std::ifstream file("/sys/fs/cgroup" + path + "/cpu.max");
      std::string limit;
      if (std::getline(file, limit)) max = granted_processors(limit, max);
      if (path.empty()) break;
      path.erase(path.rfind('/'));
    }
  }
  return max;
}

}  // namespace detail

/// Processors that the calling thread may run on, limited by the CPU quota of its control group (as
/// in a container); at least 1.
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
