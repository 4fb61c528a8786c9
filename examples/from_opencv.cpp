// Asks about the images of a live source that OpenCV captures, while the capture goes on:
//   from_opencv MODEL_DIRECTORY CAMERA_INDEX|ADDRESS
#include <iostream>
#include <optional>
#include <string>
#include <thread>

#include <opencv2/videoio.hpp>

#include "pllava/media/adapters/opencv.hpp"
#include "pllava/media/frame_queue.hpp"
#include "pllava/pllava.hpp"

int main(int argc, char** argv) try {
  if (argc != 3) {
    std::cerr << "usage: from_opencv MODEL_DIRECTORY CAMERA_INDEX|ADDRESS\n";
    return 2;
  }
  const auto model = pllava::Pipeline::load(argv[1]);
  const std::string source = argv[2];
  const bool is_index = source.find_first_not_of("0123456789") == std::string::npos;
  cv::VideoCapture capture;
  if (!(is_index ? capture.open(std::stoi(source)) : capture.open(source))) {
    std::cerr << "from_opencv: OpenCV cannot open " << source << '\n';
    return 1;
  }
  pllava::FrameQueue queue({.fps = 4});  // the newest frame wins
  pllava::CancelSource stop;
  std::jthread reader([&, token = stop.token()] {
    for (cv::Mat image; !token.cancelled() && capture.read(image); image = cv::Mat())
      queue.push(pllava::raw_image(image));
    queue.close();
  });
  auto window = model.window();
  std::optional<pllava::Session> session;
  double next_question = 2;
  try {
    while (const auto frame = queue.next()) {
      window.push(*frame);
      if (frame->time < next_question) continue;
      next_question = frame->time + 2;
      if (session)
        session->slide_to(window.video());
      else
        session = model.watch(window.video());
      std::cout << frame->time
                << " s: " << session->ask("What just happened?", {.max_new_tokens = 32}).text
                << std::endl;
    }
  } catch (...) {
    stop.cancel();
    throw;
  }
} catch (const pllava::Error& e) {
  std::cerr << "from_opencv: " << e.what() << '\n';
  return 1;
}
