// Results of a benchmark, as text and as JSON.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "pllava/models/work.hpp"

namespace cli {

/// The measurement of one part of a model.
struct BenchPart {
  std::string name;
  pllava::Work work;
  double tokens = 0;        ///< processed by one run; frames for the vision encoder
  double ms = 0;            ///< median time of one run
  pllava::Ceiling ceiling;  ///< medians; 0 for kinds of work that the part does not do

  double tokens_per_second() const { return tokens / (ms / 1e3); }
  /// The fraction of the ceiling that the part reaches.
  double of_ceiling() const { return floor_seconds(work, ceiling) / (ms / 1e3); }
};

/// A table with one line per part.
std::string bench_table(const std::vector<BenchPart>& parts);

nlohmann::ordered_json bench_json(const std::vector<BenchPart>& parts);

}  // namespace cli
