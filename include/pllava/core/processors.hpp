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

/// Processors that a quota and a period in microseconds ("150000 100000") grant, rounded up, so
/// that all of the quota can be used; at most `max`. `max` for "max" and "-1", which set no limit,
/// or an invalid line.
inline Index granted_processors(const std::string& line, Index max) {
  std::istringstream words(line);
  double quota = 0, period = 0;
  if (!(words >> quota >> period) || !(quota > 0) || !(period > 0)) return max;
  return static_cast<Index>(std::clamp(std::ceil(quota / period), 1.0, static_cast<double>(max)));
}

/// The first line of a file; empty if it cannot be read.
inline std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

/// The same for the control group of a process and all its ancestors, by the lines of
/// /proc/self/cgroup: version 2 ("0::/path") or the controller cpu of version 1
/// ("4:cpu,cpuacct:/path"), whose files are under `root`.
inline Index granted_processors(std::istream& groups, const std::string& root, Index max) {
  for (std::string line; std::getline(groups, line);) {
    const std::size_t name = line.find(':') + 1, end = line.find(':', name);
    if (name == 0 || end == std::string::npos || line.compare(end, 2, ":/") != 0) continue;
    const std::string controllers = "," + line.substr(name, end - name) + ",";
    const bool version_2 = controllers == ",,";
    if (!version_2 && controllers.find(",cpu,") == std::string::npos) continue;
    const std::string base = root + (version_2 ? "" : "/cpu");
    std::string path = line.substr(end + 1);
    if (path == "/") path.clear();
    for (;;) {
      const std::string directory = base + path;
      max = granted_processors(version_2 ? first_line(directory + "/cpu.max")
                                         : first_line(directory + "/cpu.cfs_quota_us") + " " +
                                               first_line(directory + "/cpu.cfs_period_us"),
                               max);
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
  std::ifstream groups("/proc/self/cgroup");
  count = detail::granted_processors(groups, "/sys/fs/cgroup", count);
#endif
  return count;
}

}  // namespace pllava
