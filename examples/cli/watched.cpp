#include "watched.hpp"

#include "clip.hpp"
#include "pllava/core/stopwatch.hpp"

namespace cli {

pllava::WatchOptions watch_options(const Context& context) {
  pllava::WatchOptions options;
  options.task = context.options.task;
  options.keep_tokens = context.options.keep_tokens;
  if (const std::string& name = context.options.conversation_template; name.ends_with(".json"))
    options.own_template = pllava::read_conversation_template(name);
  else
    options.conversation_template = name;
  options.control = context.control();
  return options;
}

Watched watch(const Context& context, const LoadedModel& model, const std::string& video) {
  pllava::Stopwatch stopwatch;
  const pllava::Clip clip =
      sample_clip(context, video, model.pipeline.frames(), model.pipeline.preprocess_config());
  const double decode_ms = stopwatch.lap();
  Watched watched{.video = display_name(video),
                  .frame_indices = {},
                  .frame_times = {},
                  .total_frames = clip.total_frames,
                  .warnings = model.pipeline.warnings(),
                  .video_rows = model.pipeline.config().video_rows(),
                  .load_ms = model.load_ms,
                  .decode_ms = decode_ms,
                  .session = model.pipeline.watch(clip, watch_options(context))};
  watched.warnings.insert(watched.warnings.end(), clip.warnings.begin(), clip.warnings.end());
  for (const pllava::Frame& frame : clip.frames) {
    watched.frame_indices.push_back(frame.index);
    watched.frame_times.push_back(frame.time);
  }
  return watched;
}

}  // namespace cli
