// OpenCV's images as RawImage. Does not include OpenCV: the template takes cv::Mat, or any type
// with its members.
#pragma once

#include <cstddef>
#include <limits>
#include <memory>
#include <string>

#include "pllava/media/raw_image.hpp"

namespace pllava {

/// CV_8UC1 as grey, CV_8UC3 as BGR, CV_8UC4 as BGRA, CV_16UC1 as grey16. Nothing is copied: the
/// image holds a cv::Mat that shares the pixels, so the caller's must not be overwritten while the
/// image is in use; cv::VideoCapture::read into a new cv::Mat each time, or clone(). `time`:
/// seconds. Throws MediaError: an empty Mat, another type.
template <class Mat>
RawImage raw_image(const Mat& mat, double time = std::numeric_limits<double>::quiet_NaN()) {
  constexpr int kBytes = 0, kWords = 2;  // CV_8U, CV_16U
  RawImage image;
  const int channels = mat.channels(), depth = mat.depth();
  if (mat.data == nullptr || mat.rows < 1 || mat.cols < 1) throw MediaError("", "an empty cv::Mat");
  if (depth == kBytes && channels == 1)
    image.layout = PixelLayout::grey;
  else if (depth == kBytes && channels == 3)
    image.layout = PixelLayout::bgr;
  else if (depth == kBytes && channels == 4)
    image.layout = PixelLayout::bgra;
  else if (depth == kWords && channels == 1)
    image.layout = PixelLayout::grey16;
  else
    throw MediaError("", "a cv::Mat of depth " + std::to_string(depth) + " with " +
                             std::to_string(channels) +
                             " channels; expected CV_8UC1, CV_8UC3, CV_8UC4 or CV_16UC1");
  const auto kept = std::make_shared<const Mat>(mat);
  image.width = mat.cols;
  image.height = mat.rows;
  image.pixels = {kept->data, static_cast<Index>(static_cast<std::size_t>(mat.step))};
  image.time = time;
  image.owner = kept;
  return image;
}

}  // namespace pllava
