// Settings and counters of the device in host_device.cpp, for tests.
#pragma once

#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "pllava/config.hpp"

namespace pllava::cuda {

struct HostDevice {
  static HostDevice& instance();

  Index max_bytes = std::numeric_limits<Index>::max();  // larger allocations are out of memory
  bool supports_fp8_gemm = true;           // of devices that are constructed from now on
  int memory_device = 0;                   // the GPU that all memory belongs to
  int current = 0;                         // the current device of the thread
  int last_gemm_device = -1;               // the current device at the last GEMM
  std::int64_t allocations = 0, live = 0;  // live: allocated and not freed
  std::int64_t downloads = 0;
  std::int64_t records = 0, replays = 0;
  std::int64_t recorded_work = 0;              // kernels, GEMMs and copies
  std::vector<std::pair<void*, void*>> waits;  // the first stream waits for the second
};

}  // namespace pllava::cuda
