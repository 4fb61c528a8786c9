// Asks every two seconds about the images of a GStreamer pipeline, whose end the program appends:
//   appsink MODEL_DIRECTORY "rtspsrc location=rtsp://camera/stream ! decodebin"
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include <gst/app/gstappsink.h>
#include <gst/gst.h>
#include <gst/video/video.h>

#include "pllava/media/adapters/gstreamer.hpp"
#include "pllava/media/frame_queue.hpp"
#include "pllava/pllava.hpp"

int main(int argc, char** argv) try {
  if (argc != 3) return std::cerr << "usage: appsink MODEL_DIRECTORY PIPELINE\n", 2;
  gst_init(nullptr, nullptr);
  const std::string text = std::string(argv[2]) +
                           " ! videoconvert ! video/x-raw,format=RGB"
                           " ! appsink name=out max-buffers=1 drop=true";
  GError* fault = nullptr;
  GstElement* const pipeline = gst_parse_launch(text.c_str(), &fault);
  if (fault != nullptr) return std::cerr << "appsink: " << fault->message << '\n', 1;
  GstAppSink* const sink = GST_APP_SINK(gst_bin_get_by_name(GST_BIN(pipeline), "out"));
  const auto model = pllava::Pipeline::load(argv[1]);
  pllava::FrameQueue queue({.fps = 4});  // the newest frame wins
  gst_element_set_state(pipeline, GST_STATE_PLAYING);
  std::jthread reader([&] {
    try {
      while (GstSample* const sample = gst_app_sink_pull_sample(sink)) {  // null: the end
        queue.push(pllava::raw_image(sample));
        gst_sample_unref(sample);
      }
      queue.close();
    } catch (...) {
      queue.fail(std::current_exception());
    }
  });
  const auto stop = [](GstElement* p) { gst_element_set_state(p, GST_STATE_NULL); };
  const std::unique_ptr<GstElement, decltype(stop)> playing(pipeline, stop);  // ends the reader
  auto window = model.window();
  std::optional<pllava::Session> session;
  for (double next_question = 2; const auto frame = queue.next();) {
    window.push(*frame);
    if (frame->time < next_question) continue;
    next_question = frame->time + 2;
    if (!session) session = model.watch(window.video());
    session->slide_to(window.video());  // no cost the first time
    std::cout << session->ask("What just happened?").text << std::endl;
  }
} catch (const pllava::Error& e) {
  std::cerr << "appsink: " << e.what() << '\n';
  return 1;
}
