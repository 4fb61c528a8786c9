#include "answer_json.hpp"

#include <fstream>

#include <nlohmann/json.hpp>

namespace cli {
namespace {

/// Peak resident memory of the process; 0 if /proc is not available.
Index peak_memory_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmHWM:")) return std::stoll(line.substr(6)) * 1024;
  return 0;
}

double per_second(double count, double ms) {
  return ms > 0 ? count / ms * 1000 : 0.0;
}

}  // namespace

std::string to_json_line(const Watched& w, const pllava::Answer& a) {
  const pllava::WatchReport& report = w.session.report();
  const double decoded =
      static_cast<double>(a.output_ids.size()) - 1;  // prefill yields the first token
  const nlohmann::ordered_json json = {
      {"video", w.video},
      {"prompt", a.prompt},
      {"text", a.text},
      {"frame_indices", w.frame_indices},
      {"frame_times", w.frame_times},
      {"total_frames", w.total_frames},
      {"warnings", w.warnings},
      {"prompt_ids", a.prompt_ids},
      {"output_ids", a.output_ids},
      {"finish_reason", pllava::name_of(a.finish_reason)},
      {"timings_ms",
       {{"load", w.load_ms},
        {"decode", w.decode_ms},
        {"preprocess", report.video.preprocess_ms},
        {"vision", report.video.vision_ms},
        {"project", report.video.project_ms},
        {"prefill", report.video.prefill_ms + a.prefill_ms},
        {"generate", a.generate_ms}}},
      {"prefill_tokens_per_s",
       per_second(static_cast<double>(w.video_rows), report.video.prefill_ms)},
      {"decode_tokens_per_s", per_second(decoded, a.generate_ms)},
      {"peak_memory_bytes", peak_memory_bytes()}};
  // File names may contain invalid UTF-8, which JSON does not allow: it is replaced.
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + '\n';
}

}  // namespace cli
