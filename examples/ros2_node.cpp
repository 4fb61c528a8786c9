// A ROS 2 node that answers a question about the last seconds of an image topic, every two seconds:
//   ros2_node MODEL_DIRECTORY --ros-args -r image:=/camera/image_raw -p question:="Who is there?"
// Subscribes to `image` and publishes the answers on `answer`.
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include <rclcpp/rclcpp.hpp>
#include <sensor_msgs/msg/image.hpp>
#include <std_msgs/msg/string.hpp>

#include "pllava/media/adapters/ros2.hpp"
#include "pllava/media/frame_queue.hpp"
#include "pllava/pllava.hpp"

int main(int argc, char** argv) try {
  rclcpp::init(argc, argv);
  if (argc < 2) {
    std::cerr << "usage: ros2_node MODEL_DIRECTORY [--ros-args ...]\n";
    return 2;
  }
  const auto node = std::make_shared<rclcpp::Node>("pllava");
  const auto question = node->declare_parameter<std::string>("question", "What just happened?");
  const auto answers = node->create_publisher<std_msgs::msg::String>("answer", 10);
  const auto model = pllava::Pipeline::load(argv[1]);
  pllava::FrameQueue queue({.fps = 4});  // the newest frame wins
  const auto images = node->create_subscription<sensor_msgs::msg::Image>(
      "image", rclcpp::SensorDataQoS(), [&](std::shared_ptr<const sensor_msgs::msg::Image> image) {
        try {
          queue.push(pllava::raw_image(std::move(image)));
        } catch (const pllava::Error& e) {
          RCLCPP_WARN(node->get_logger(), "%s", e.what());
        }
      });
  std::jthread spinner([&] {
    rclcpp::spin(node);
    queue.close();
  });
  auto window = model.window();
  std::optional<pllava::Session> session;
  for (double next_question = 2; const auto frame = queue.next();) {
    window.push(*frame);
    if (frame->time < next_question) continue;
    next_question = frame->time + 2;
    if (session)
      session->slide_to(window.video());
    else
      session = model.watch(window.video());
    std_msgs::msg::String message;
    message.data = session->ask(question, {.max_new_tokens = 64}).text;
    answers->publish(message);
  }
  rclcpp::shutdown();
} catch (const pllava::Error& e) {
  std::cerr << "ros2_node: " << e.what() << '\n';
  return 1;
}
