// What a test sees and sets of the device that host_device.cpp plays.
#pragma once

#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "pllava/config.hpp"

namespace pllava::cuda {

struct HostDevice {
  static HostDevice& instance();

  Index most_bytes = std::numeric_limits<Index>::max();  // a larger request is out of memory
  bool multiplies_fp8 = true;                            // of devices that are made from now on
  int memory_of = 0;                                     // the GPU that all memory belongs to
  int current = 0;                                       // the calling thread's
  int multiplied_on = -1;                                // what was current at the last product
  std::int64_t allocations = 0, living = 0, downloads = 0;
  std::int64_t records = 0, replays = 0, recorded_work = 0;  // kernels, products and copies
  std::vector<std::pair<void*, void*>> orders;               // streams: the second waits
};

}  // namespace pllava::cuda
