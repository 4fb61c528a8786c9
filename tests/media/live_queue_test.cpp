// Which frames of a live source a slow consumer gets.
#include "video/live_queue.hpp"

#include <optional>
#include <vector>

#include "support/catch.hpp"

namespace {

using pllava::detail::LiveQueue;
using Queue = LiveQueue<int>;

/// The reader's side: a frame arrives, and the consumer has not asked since.
void arrive(Queue& queue, int frame, double time, double now) {
  queue.arrive(time, now);
  queue.drop_late(now);
  queue.push(frame, time, now);
  queue.drop_late(now);
}

/// The consumer's side.
std::optional<int> take(Queue& queue, double now) {
  queue.drop_late(now);
  return queue.is_catching_up(now) ? std::nullopt : queue.pop(now);
}

Queue queue_of(Queue::Sender sender, std::size_t capacity = 8) {
  Queue queue(capacity, sender);
  queue.set_drops_late(true);
  return queue;
}

TEST_CASE("A late frame is dropped when the next one is due", "[live]") {
  Queue queue = queue_of(Queue::Sender::in_real_time);
  for (int i = 0; i < 8; ++i) queue.push(i, 0.1 * i, 0);
  CHECK(queue.full());
  queue.drop_late(0.05);  // only frame 0 is due
  CHECK(queue.dropped() == 0);
  queue.drop_late(0.35);
  CHECK(queue.dropped() == 3);
  CHECK_FALSE(queue.full());
  CHECK(queue.pop(0.35) == 3);
  queue.drop_late(100);  // the newest stays
  CHECK(queue.dropped() == 6);
  CHECK(queue.pop(100) == 7);
  CHECK(queue.empty());
  CHECK_FALSE(queue.pop(100));
}

TEST_CASE("A consumer that keeps up with a live source gets every frame", "[live]") {
  for (const auto sender : {Queue::Sender::in_real_time, Queue::Sender::as_fast_as_read}) {
    Queue queue = queue_of(sender, 2);
    std::vector<int> got;
    for (int i = 0; i < 10; ++i) {
      arrive(queue, i, 0.1 * i, 0.1 * i);
      if (const auto frame = take(queue, 0.1 * i)) got.push_back(*frame);
    }
    CHECK(queue.dropped() == 0);
    CHECK(got == std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
  }
}

TEST_CASE("A wrong time far ahead does not keep older frames in the queue", "[live]") {
  for (const auto sender : {Queue::Sender::in_real_time, Queue::Sender::as_fast_as_read}) {
    Queue queue = queue_of(sender);
    for (int i = 0; i < 100; ++i) {
      arrive(queue, i, i == 5 ? 9.0 : 0.1 * i, 0.1 * i);
      REQUIRE_FALSE(queue.full());
    }
    const auto frame = take(queue, 11);  // the consumer did not ask for ten seconds
    REQUIRE(frame);
    CHECK(*frame >= 95);
  }
}

TEST_CASE("The newest frame wins after a stall of the consumer", "[live]") {
  for (const auto sender : {Queue::Sender::in_real_time, Queue::Sender::as_fast_as_read}) {
    // A sender that is `ahead` seconds in front of the clock at first, like a camera that sends
    // the last seconds that it has kept.
    for (const double ahead : {0.0, 5.0}) {
      Queue queue = queue_of(sender);
      int sent = 0;
      const auto send_until = [&](double time, double now) {
        for (; 0.04 * sent <= time; ++sent) {
          queue.drop_late(now);
          if (queue.full()) return;
          arrive(queue, sent, 0.04 * sent, now);
        }
      };
      for (double now = 0; now < 3; now += 0.01) {  // the consumer takes all
        send_until(now + ahead, now);
        while (take(queue, now)) {
        }
      }
      for (double now = 3; now < 13; now += 0.01) send_until(now + ahead, now);
      const auto frame = take(queue, 13);
      REQUIRE(frame);
      CHECK(0.04 * *frame > 13 + ahead - 1);
    }
  }
}

TEST_CASE("Frames that waited on the way are worked off before one is delivered", "[live]") {
  Queue queue = queue_of(Queue::Sender::in_real_time);
  // Twelve seconds after opening, 10 s of frames come in 0.5 s; then they come in real time.
  double now = 12;
  int frame = 0;
  std::vector<int> got;
  const auto step = [&](double interval) {
    arrive(queue, frame, 0.04 * frame, now);
    if (const auto taken = take(queue, now)) got.push_back(*taken);
    ++frame;
    now += interval;
  };
  while (frame < 310) step(0.002);
  now = 12.62;
  while (frame < 330) step(0.04);
  REQUIRE_FALSE(got.empty());
  CHECK(got.front() >= 285);  // at most 1 s old
  CHECK(got.back() == 329);
}

TEST_CASE("A sender that is late itself is read without waiting", "[live]") {
  Queue queue = queue_of(Queue::Sender::in_real_time);
  std::vector<double> waits;
  for (int i = 0; i < 100; ++i) {
    const double now = 2 + 0.04 * i;  // all frames are 2 s late
    arrive(queue, i, 0.04 * i, now);
    if (take(queue, now)) waits.push_back(now);
  }
  CHECK(waits.front() < 2.3);
  CHECK(waits.size() >= 94);
  // It stops for 3 s without a gap in its times.
  arrive(queue, 100, 4.0, 9.0);
  CHECK_FALSE(take(queue, 9.0));
  CHECK(take(queue, 9.25));
  arrive(queue, 101, 4.04, 9.04 + 0.25);
  CHECK(take(queue, 9.29) == 101);
}

TEST_CASE("Without dropping every frame is delivered", "[live]") {
  Queue queue(4, Queue::Sender::in_real_time);
  for (int i = 0; i < 4; ++i) arrive(queue, i, 0.1 * i, 50.0);
  CHECK(queue.full());
  for (int i = 0; i < 4; ++i) CHECK(take(queue, 60.0) == i);
  CHECK(queue.dropped() == 0);
}

}  // namespace
