// A TCP server on the loopback interface that sends bytes to its clients, one after the other: a
// stream that cannot be read again.
#pragma once

#include <string>
#include <thread>

namespace test {

class ByteServer {
 public:
  /// After `clients` clients it refuses connections.
  explicit ByteServer(std::string bytes, int clients = 1);
  /// Ends the connection.
  ~ByteServer();
  ByteServer(const ByteServer&) = delete;
  ByteServer& operator=(const ByteServer&) = delete;

  /// "tcp://127.0.0.1:PORT"
  const std::string& url() const { return url_; }

 private:
  std::string bytes_, url_;
  int listener_ = -1;
  std::thread thread_;
};

}  // namespace test
