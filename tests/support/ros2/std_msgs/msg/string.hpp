// The message std_msgs/String, where ROS 2 is absent.
#pragma once

#include <string>

namespace std_msgs::msg {
struct String {
  std::string data;
};
}  // namespace std_msgs::msg
