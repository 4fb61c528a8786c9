#include "clip.hpp"

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
  if (o.start || o.end)
    sample.bounds = pllava::TimeRange{o.start.value_or(0), o.end.value_or(kNoEnd)};
  return sample;
}

}  // namespace

pllava::Clip sample_clip(const Context& context, const std::string& video, Index frames) {
  const pllava::RunControl control = context.control();
  control.at("frames", 0, frames);
  try {
    pllava::Clip clip = pllava::Video::open(video).sample(frames, sample_options(context));
    control.at("frames", frames, frames);
    return clip;
  } catch (const pllava::ArgumentError& e) {  // bounds outside the video
    throw pllava::MediaError(video, e.what());
  }
}

#else

pllava::Clip sample_clip(const Context&, const std::string& video, Index) {
  throw pllava::MediaError(video,
                           "this program was built without component video (-DPLLAVA_VIDEO=ON)");
}

#endif

}  // namespace cli
