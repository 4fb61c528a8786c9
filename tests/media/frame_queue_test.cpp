#include "pllava/media/frame_queue.hpp"

#include <chrono>
#include <cstring>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "pllava/media/adapters/opencv.hpp"
#include "pllava/media/adapters/ros2.hpp"
#include "support/catch.hpp"

namespace {

using namespace pllava;

constexpr double kNoTime = std::numeric_limits<double>::quiet_NaN();

/// An RGB image of one value that owns its pixels.
RawImage image_of(int value, double time = kNoTime, Index width = 4, Index height = 2) {
  const auto pixels = std::make_shared<std::vector<std::uint8_t>>(
      static_cast<std::size_t>(width * height * 3), static_cast<std::uint8_t>(value));
  return {.width = width,
          .height = height,
          .pixels = {pixels->data(), 0},
          .time = time,
          .owner = pixels};
}

TEST_CASE("The newest image wins, and older ones are counted", "[frame_queue]") {
  FrameQueue queue;
  for (int i = 0; i < 100; ++i) queue.push(image_of(i, i * 0.1));
  const auto frame = queue.next();
  REQUIRE(frame);
  CHECK(frame->data[0] == 99);
  CHECK(frame->index == 99);
  CHECK(frame->time == Approx(9.9));
  const SourceStats stats = queue.stats();
  CHECK(stats.received == 100);
  CHECK(stats.delivered == 1);
  CHECK(stats.dropped == 99);
  CHECK(stats.age >= 0);
  CHECK(stats.age < 5);
}

TEST_CASE("No image is lost with Delivery::every", "[frame_queue][threads]") {
  FrameQueue queue({.capacity = 3, .delivery = Delivery::every});
  constexpr int kEach = 5000;
  std::vector<std::thread> producers;
  for (int p = 0; p < 2; ++p)
    producers.emplace_back([&, p] {
      for (int i = 0; i < kEach; ++i) queue.push(image_of(p, kNoTime, 1, 1));
    });
  int of[2] = {};
  double last = 0;
  for (int i = 0; i < 2 * kEach; ++i) {
    const auto frame = queue.next();
    REQUIRE(frame);
    REQUIRE(frame->index == i);
    REQUIRE(frame->time >= last);
    last = frame->time;
    ++of[frame->data[0]];
  }
  for (std::thread& producer : producers) producer.join();
  CHECK(of[0] == kEach);
  CHECK(of[1] == kEach);
  CHECK(queue.stats().dropped == 0);
}

TEST_CASE("A full queue refuses, waits until a deadline, or is closed", "[frame_queue][threads]") {
  FrameQueue queue({.capacity = 1, .delivery = Delivery::every});
  queue.push(image_of(1));
  CHECK_FALSE(queue.try_push(image_of(2)));
  const CancelToken late = CancelToken().until(CancelToken::Clock::now());
  CHECK_THROWS_AS(queue.push(image_of(3), late), DeadlineError);
  std::thread producer([&] { queue.push(image_of(4)); });  // waits, or comes after the end
  queue.close();
  producer.join();
  CHECK(queue.next()->data[0] == 1);
  CHECK_FALSE(queue.next());
  queue.push(image_of(5));
  CHECK_FALSE(queue.next());
  CHECK_FALSE(queue.stats().connected);
}

TEST_CASE("Waiting for an image has a deadline, and a failure reaches the consumer",
          "[frame_queue]") {
  FrameQueue queue;
  const CancelToken late = CancelToken().until(CancelToken::Clock::now());
  CHECK_THROWS_AS(queue.next(late), DeadlineError);
  queue.push(image_of(7));
  CHECK(queue.next(late));  // an image that is there needs no waiting
  queue.push(image_of(8));
  queue.fail(std::make_exception_ptr(std::runtime_error("the driver failed")));
  CHECK(queue.next()->data[0] == 8);
  CHECK_THROWS_WITH(queue.next(), "the driver failed");
}

TEST_CASE("Times rise although the clock of the sender jumps", "[frame_queue]") {
  FrameQueue queue({.capacity = 16, .delivery = Delivery::every});
  for (const double time : {1e9, 1e9 + 0.5, 5.0, 5.5, 1e6, 1e6 + 1, -3.0})
    queue.push(image_of(0, time));
  for (const double expected : {0.0, 0.5, 0.54, 1.04, 1.08, 2.08, 2.12})
    CHECK(queue.next()->time == Approx(expected));
}

TEST_CASE("A rate drops images before they are copied", "[frame_queue]") {
  FrameQueue queue({.capacity = 64, .delivery = Delivery::every, .fps = 2});
  std::vector<std::uint8_t> camera(4 * 2 * 3);
  for (int i = 0; i < 40; ++i) {  // 20 frames per second
    std::fill(camera.begin(), camera.end(), static_cast<std::uint8_t>(i));
    queue.push({.width = 4, .height = 2, .pixels = {camera.data(), 0}, .time = i / 20.0});
  }
  queue.close();
  std::vector<int> values;
  while (const auto frame = queue.next()) values.push_back(frame->data[0]);
  CHECK(values == std::vector<int>{0, 10, 20, 30});  // of the moment: the buffer was copied
  CHECK(queue.stats().dropped == 36);
}

TEST_CASE("All layouts become frames, and sizes may change", "[frame_queue]") {
  FrameQueue queue({.capacity = 16, .delivery = Delivery::every});
  const std::vector<std::uint8_t> bytes(64, 128);
  const auto push = [&](PixelLayout layout, Index width) {
    queue.push({.layout = layout,
                .width = width,
                .height = 2,
                .pixels = {bytes.data(), 16},
                .chroma = {bytes.data(), 16},
                .encoding = YuvEncoding::bt601_full});
  };
  for (const PixelLayout layout :
       {PixelLayout::rgb, PixelLayout::bgr, PixelLayout::grey, PixelLayout::rgba, PixelLayout::bgra,
        PixelLayout::nv12, PixelLayout::yuyv, PixelLayout::grey16}) {
    push(layout, 4);
    const Frame rgb = to_rgb(*queue.next());
    CHECK(rgb.width == 4);
    CHECK(std::vector<std::uint8_t>(rgb.data, rgb.data + 3) == std::vector<std::uint8_t>(3, 128));
  }
  push(PixelLayout::rgb, 3);
  CHECK(queue.next()->width == 3);
  const RawImage kept = image_of(1);
  CHECK(to_frame(kept).data == kept.pixels.data);  // not copied
}

TEST_CASE("Invalid images and options are refused", "[frame_queue]") {
  FrameQueue queue;
  const std::vector<std::uint8_t> bytes(64);
  RawImage image{.width = 4, .height = 2, .pixels = {bytes.data(), 12}};
  const auto refused = [&](auto change) {
    RawImage changed = image;
    change(changed);
    CHECK_THROWS_AS(queue.push(changed), MediaError);
  };
  refused([](RawImage& i) { i.pixels.data = nullptr; });
  refused([](RawImage& i) { i.width = 0; });
  refused([](RawImage& i) { i.height = -1; });
  refused([](RawImage& i) { i.width = Index{1} << 40; });
  refused([](RawImage& i) { i.pixels.stride = 11; });
  refused([](RawImage& i) { i.layout = PixelLayout::nv12; });  // no chroma
  refused([](RawImage& i) { i.layout = PixelLayout::yuyv, i.width = 3; });
  CHECK(queue.stats().received == 0);
  queue.push(image);
  CHECK(queue.next());
  CHECK_THROWS_AS(FrameQueue({.capacity = 0}), ArgumentError);
  CHECK_THROWS_AS(FrameQueue({.fps = -1}), ArgumentError);
}

/// The members of cv::Mat that raw_image reads.
struct Mat {
  unsigned char* data = nullptr;
  int rows = 0, cols = 0;
  std::size_t step = 0;
  int depth_ = 0, channels_ = 3;
  std::shared_ptr<std::vector<unsigned char>> pixels = {};
  int depth() const { return depth_; }
  int channels() const { return channels_; }
};

TEST_CASE("cv::Mat is taken without a copy", "[frame_queue]") {
  Mat mat;
  mat.pixels = std::make_shared<std::vector<unsigned char>>(64, 9);
  mat.data = mat.pixels->data();
  mat.rows = 2, mat.cols = 4, mat.step = 16;
  const RawImage image = raw_image(mat, 1.5);
  CHECK(image.layout == PixelLayout::bgr);
  CHECK(image.time == 1.5);
  const Frame frame = to_frame(image);
  CHECK(frame.data == mat.data);
  CHECK(frame.stride == 16);
  CHECK(frame.format == PixelFormat::bgr);
  mat.pixels.reset();
  CHECK(frame.data[0] == 9);  // the image shares the pixels
  mat.depth_ = 5;             // CV_32F
  CHECK_THROWS_WITH(raw_image(mat), Catch::Contains("expected CV_8UC1"));
  CHECK_THROWS_AS(raw_image(Mat{}), MediaError);
}

/// The members of sensor_msgs::msg::Image.
struct Message {
  struct {
    struct {
      std::int32_t sec = 3;
      std::uint32_t nanosec = 250'000'000;
    } stamp;
  } header;
  std::uint32_t height = 2, width = 4;
  std::string encoding = "bgr8";
  std::uint8_t is_bigendian = 0;
  std::uint32_t step = 12;
  std::vector<std::uint8_t> data = std::vector<std::uint8_t>(24, 5);
};

TEST_CASE("An image message of ROS 2 is taken without a copy", "[frame_queue]") {
  const auto message = std::make_shared<const Message>();
  const RawImage image = raw_image(message);
  CHECK(image.layout == PixelLayout::bgr);
  CHECK(image.time == 3.25);
  CHECK(to_frame(image).data == message->data.data());
  const auto changed = [](auto change) {
    auto other = std::make_shared<Message>();
    change(*other);
    return std::shared_ptr<const Message>(other);
  };
  CHECK_THROWS_WITH(raw_image(changed([](Message& m) { m.encoding = "bayer_rggb8"; })),
                    Catch::Contains("bayer_rggb8"));
  CHECK_THROWS_AS(raw_image(changed([](Message& m) { m.data.resize(23); })), MediaError);
  CHECK_THROWS_AS(raw_image(changed([](Message& m) { m.step = 8; })), MediaError);
  CHECK_THROWS_AS(raw_image(changed([](Message& m) { m.encoding = "mono16", m.is_bigendian = 1; })),
                  MediaError);
  CHECK_THROWS_AS(raw_image(std::shared_ptr<const Message>()), MediaError);
  const RawImage nv12 =
      raw_image(changed([](Message& m) { m.encoding = "nv12", m.step = 4, m.data.resize(12); }));
  CHECK(static_cast<const std::uint8_t*>(nv12.chroma.data) -
            static_cast<const std::uint8_t*>(nv12.pixels.data) ==
        8);
}

}  // namespace
