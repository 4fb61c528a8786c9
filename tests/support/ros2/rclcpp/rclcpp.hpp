// The part of rclcpp that examples/ros2_node.cpp uses, where ROS 2 is absent. `spin` sends 5 s of
// images of a moving bar at 10 per second, without waiting, and `publish` prints.
#pragma once

#include <cstdio>
#include <functional>
#include <iostream>
#include <memory>
#include <string>
#include <utility>

#include "sensor_msgs/msg/image.hpp"

#define RCLCPP_WARN(logger, ...) (static_cast<void>(logger), std::fprintf(stderr, __VA_ARGS__))

namespace rclcpp {

struct SensorDataQoS {};
struct Logger {};

template <class Message>
struct Publisher {
  void publish(const Message& message) const { std::cout << message.data << std::endl; }
};

struct Node {
  using Callback = std::function<void(std::shared_ptr<const sensor_msgs::msg::Image>)>;

  explicit Node(std::string) {}
  template <class T>
  T declare_parameter(const std::string&, T value) {
    return value;
  }
  template <class Message>
  std::shared_ptr<Publisher<Message>> create_publisher(const std::string&, int) {
    return std::make_shared<Publisher<Message>>();
  }
  template <class Message>
  std::shared_ptr<Callback> create_subscription(const std::string&, SensorDataQoS, Callback call) {
    callback = std::move(call);
    return std::make_shared<Callback>(callback);
  }
  Logger get_logger() const { return {}; }

  Callback callback;
};

inline void init(int, char**) {}
inline void shutdown() {}
inline void spin(const std::shared_ptr<Node>& node) {
  for (int i = 0; i < 50; ++i) {
    auto image = std::make_shared<sensor_msgs::msg::Image>();
    image->header.stamp = {i / 10, static_cast<std::uint32_t>(i % 10) * 100000000u};
    image->encoding = "mono8";
    image->width = image->step = 64;
    image->height = 48;
    image->data.assign(64 * 48, 30);
    for (std::size_t y = 0; y < 48; ++y) image->data[y * 64 + static_cast<std::size_t>(i)] = 220;
    node->callback(std::move(image));
  }
}

}  // namespace rclcpp
