#include "image_source.hpp"

namespace pllava::detail {

namespace fs = std::filesystem;

namespace {

class ImageSource final : public Video::Source {
 public:
  ImageSource(std::string name, const VideoOptions& options, std::vector<fs::path> files)
      : Source(std::move(name), options), files_(std::move(files)) {
    if (files_.empty()) fail("contains no images; expected JPEG, PNG, BMP or PNM files");
    const Frame first = load_image(files_.front(), options_.max_pixels);
    info_.width = first.width;
    info_.height = first.height;
    info_.fps = kImageDirectoryFps;
    info_.frame_count = static_cast<Index>(files_.size());
    info_.duration = static_cast<double>(info_.frame_count) / info_.fps;
    info_.codec = "images";
  }

  Index decoded_frames() const noexcept override { return decoded_; }

  void build_index(const CancelToken&) override {}

  std::vector<Index> choose(Index n, const SampleOptions& options) const override {
    if (options.rule == SamplingRule::demo)
      return sample_indices(options.rule, info_.frame_count, n, info_.fps, options.bounds);
    std::vector<Index> numbers = image_numbers(info_.frame_count, n, options.bounds);
    for (Index& number : numbers) --number;
    return numbers;
  }

  bool fetch(const std::vector<Index>& indices, const CancelToken& cancel,
             std::vector<Frame>& frames) override {
    for (const Index i : indices) {
      if (cancel.cancelled()) throw CancelledError("reading images");
      frames.push_back(load(i));
    }
    return true;
  }

  std::optional<Frame> next() override {
    while (next_ < info_.frame_count) {
      const Index i = next_++;
      if (rate_filter_.select(time_of(i))) return load(i);
    }
    return std::nullopt;
  }

  void rewind() override {
    next_ = 0;
    rate_filter_.reset();
  }

 private:
  double time_of(Index i) const { return static_cast<double>(i) / info_.fps; }

  Frame load(Index i) {
    Frame frame = load_image(files_[static_cast<std::size_t>(i)], options_.max_pixels);
    ++decoded_;
    frame.index = i;
    frame.time = time_of(i);
    return frame;
  }

  std::vector<fs::path> files_;
  Index decoded_ = 0;
  Index next_ = 0;
};

}  // namespace

std::unique_ptr<Video::Source> make_image_source(std::string name, const VideoOptions& options,
                                                 std::vector<fs::path> files) {
  return std::make_unique<ImageSource>(std::move(name), options, std::move(files));
}

}  // namespace pllava::detail
