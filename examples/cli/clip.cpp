#include "clip.hpp"

#include "output.hpp"
#include "pllava/media/video.hpp"

namespace cli {

#ifdef PLLAVA_HAS_VIDEO

namespace {

pllava::SampleOptions sample_options(const Context& context) {
  constexpr double kNoEnd = 1e5;  // end of every clip in the reference, in seconds
  const Options& o = context.options;
  pllava::SampleOptions sample;
  sample.rule = o.sampling;
  sample.cancel = context.interrupt.token();
  if (o.seconds) sample.live_seconds = *o.seconds;
  if (o.start || o.end)
    sample.bounds = pllava::TimeRange{o.start.value_or(0), o.end.value_or(kNoEnd)};
  return sample;
}

}  // namespace

pllava::VideoOptions video_options(const Context& context) {
  const Options& o = context.options;
  pllava::VideoOptions video;
  video.stream = o.stream;
  video.input_options = o.input_options;
  video.cancel = context.interrupt.token();
  video.progress = context.control().progress;
  video.apply_orientation = !o.raw_orientation;
  video.square_pixels = o.square_pixels;
  video.follow_other_hosts = o.follow_other_hosts;
  if (o.decord_numbering) video.numbering = pllava::FrameNumbering::decord;
  return video;
}

pllava::Clip sample_clip(const Context& context, const std::string& video, Index frames,
                         const pllava::PreprocessConfig& config) {
  const pllava::RunControl control = context.control();
  control.at("frames", 0, frames);
  pllava::SampleOptions options = sample_options(context);
  options.transform = [&](const pllava::Frame& f) { return pllava::crop_large_frame(f, config); };
  pllava::Clip clip = pllava::Video::open(video, video_options(context)).sample(frames, options);
  control.at("frames", frames, frames);
  if (!clip.warnings.empty()) context.status.clear();
  for (const std::string& warning : clip.warnings)
    report_warning(display_name(video) + ": " + warning);
  return clip;
}

std::string display_name(const std::string& video) {
  return pllava::without_secrets(video);
}

#else

std::string display_name(const std::string& video) {
  return video;
}

pllava::Clip sample_clip(const Context&, const std::string& video, Index,
                         const pllava::PreprocessConfig&) {
  throw pllava::MediaError(video,
                           "this program was built without component video (-DPLLAVA_VIDEO=ON)");
}

#endif

}  // namespace cli
