#include "bench_report.hpp"

#include <cmath>
#include <cstdio>

namespace cli {
namespace {

using Json = nlohmann::ordered_json;

/// "812 GFLOP/s, 40 GB/s"
std::string describe(const pllava::Ceiling& ceiling) {
  std::string text;
  const auto add = [&text](double value, const char* unit) {
    if (value == 0) return;
    text += (text.empty() ? "" : ", ") + std::to_string(std::lround(value / 1e9)) + unit;
  };
  add(ceiling.flops, " GFLOP/s");
  add(ceiling.int8_ops, " GOP/s int8");
  add(ceiling.int4_ops, " GOP/s int4");
  add(ceiling.bytes, " GB/s");
  return text;
}

Json to_json(const pllava::Work& w) {
  return {{"flops", w.flops},
          {"int8_operations", w.int8_ops},
          {"int4_operations", w.int4_ops},
          {"bytes", w.bytes}};
}

}  // namespace

std::string bench_table(const std::vector<BenchPart>& parts) {
  char line[160];
  std::snprintf(line, sizeof line, "%-22s %12s %14s %10s  %s\n", "part", "ms", "per second",
                "reached", "of");
  std::string text = line;
  for (const BenchPart& p : parts) {
    std::snprintf(line, sizeof line, "%-22s %12.2f %14.1f %9.0f%%  %s\n", p.name.c_str(), p.ms,
                  p.tokens_per_second(), 100 * p.of_ceiling(), describe(p.ceiling).c_str());
    text += line;
  }
  return text;
}

Json bench_json(const std::vector<BenchPart>& parts) {
  Json json = Json::array();
  for (const BenchPart& p : parts)
    json.push_back({{"part", p.name},
                    {"median_ms", p.ms},
                    {"tokens_per_second", p.tokens_per_second()},
                    {"work", to_json(p.work)},
                    {"ceiling_per_second", to_json(p.ceiling)},
                    {"of_ceiling", p.of_ceiling()}});
  return json;
}

}  // namespace cli
