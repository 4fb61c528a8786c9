// Which frames of a live source a slow consumer gets.
#include "video/live_queue.hpp"

#include <vector>

#include "support/catch.hpp"

namespace {

using pllava::detail::LiveQueue;

TEST_CASE("A late frame is dropped when the next one is due", "[live]") {
  LiveQueue<int> queue(8);
  for (int i = 0; i < 8; ++i) queue.push(i, 0.1 * i);
  CHECK(queue.full());
  queue.drop_late(0.05);  // only frame 0 is due
  CHECK(queue.dropped() == 0);
  queue.drop_late(0.35);
  CHECK(queue.dropped() == 3);
  CHECK_FALSE(queue.full());
  CHECK(queue.pop() == 3);
  queue.drop_late(100);  // the newest stays
  CHECK(queue.dropped() == 6);
  CHECK(queue.pop() == 7);
  CHECK(queue.empty());
  CHECK_FALSE(queue.pop());
}

TEST_CASE("A consumer that keeps up with a live source gets every frame", "[live]") {
  LiveQueue<int> queue(2);
  std::vector<int> got;
  for (int i = 0; i < 10; ++i) {
    queue.push(i, 0.1 * i);
    queue.drop_late(0.1 * i);
    got.push_back(*queue.pop());
  }
  CHECK(queue.dropped() == 0);
  CHECK(got == std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
}

}  // namespace
