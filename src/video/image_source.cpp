#include "image_source.hpp"

#include <algorithm>
#include <utility>

#include "image_pages.hpp"

namespace pllava::detail {

namespace fs = std::filesystem;

namespace {

/// "3 files are not images and are left out: a.txt, b.txt, ..."
std::string describe_others(const std::vector<fs::path>& others) {
  constexpr std::size_t kNamed = 3;
  std::string text =
      std::to_string(others.size()) +
      (others.size() == 1 ? " file is not an image that can be read and is left out: "
                          : " files are not images that can be read and are left out: ");
  for (std::size_t i = 0; i < std::min(kNamed, others.size()); ++i)
    text += (i > 0 ? ", " : "") + others[i].filename().string();
  return others.size() > kNamed ? text + ", ..." : text;
}

class ImageSource final : public Video::Source {
 public:
  ImageSource(std::string name, const VideoOptions& options, std::vector<ImagePage> pages)
      : Source(std::move(name), options), pages_(std::move(pages)) {
    describe();
  }

  ImageSource(std::string name, const VideoOptions& options, const ImageFiles& files)
      : Source(std::move(name), options) {
    if (files.images.empty())
      fail("contains no images; expected JPEG, PNG, BMP, PNM, WebP or TIFF files");
    for (const fs::path& file : files.images)
      for (int page = 0, count = count_pages(file); page < count; ++page)
        pages_.push_back({file, page});
    if (!files.others.empty()) info_.warnings.push_back(describe_others(files.others));
    describe();
  }

  Index decoded_frames() const noexcept override { return decoded_; }

  void build_index(const CancelToken&) override {}

  std::vector<Index> choose(Index n, const SampleOptions& options) const override {
    if (options.rule != SamplingRule::eval)
      return sample_indices(options.rule, info_.frame_count, n, info_.fps, options.bounds);
    std::vector<Index> numbers = image_numbers(info_.frame_count, n, options.bounds);
    for (Index& number : numbers) --number;
    return numbers;
  }

  bool fetch(const std::vector<Index>& indices, const FrameTransform& transform,
             const CancelToken& cancel, std::vector<Frame>& frames) override {
    for (const Index i : indices) {
      cancel.check("reading images");
      frames.push_back(transformed(load(i), transform));
    }
    return true;
  }

  std::optional<Frame> next(const CancelToken& cancel) override {
    cancel.check("reading images");
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
  void describe() {
    const Frame first = read_page(pages_.front(), options_);
    info_.width = first.width;
    info_.height = first.height;
    info_.fps = kImageDirectoryFps;
    info_.frame_count = static_cast<Index>(pages_.size());
    info_.duration = static_cast<double>(info_.frame_count) / info_.fps;
    info_.codec = "images";
  }

  double time_of(Index i) const { return static_cast<double>(i) / info_.fps; }

  Frame load(Index i) {
    Frame frame = read_page(pages_[static_cast<std::size_t>(i)], options_);
    ++decoded_;
    frame.index = i;
    frame.time = time_of(i);
    return frame;
  }

  std::vector<ImagePage> pages_;
  Index decoded_ = 0;
  Index next_ = 0;
};

}  // namespace

std::unique_ptr<Video::Source> make_image_source(std::string name, const VideoOptions& options,
                                                 const ImageFiles& files) {
  return std::make_unique<ImageSource>(std::move(name), options, files);
}

std::unique_ptr<Video::Source> make_image_source(
    std::string name, const VideoOptions& options,
    std::shared_ptr<const std::vector<std::byte>> bytes) {
  std::vector<ImagePage> pages;
  for (int page = 0, count = count_pages(*bytes); page < count; ++page)
    pages.push_back({name, page, bytes});
  return std::make_unique<ImageSource>(std::move(name), options, std::move(pages));
}

}  // namespace pllava::detail
