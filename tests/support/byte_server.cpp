#include "support/byte_server.hpp"

#include <stdexcept>
#include <utility>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

namespace test {

ByteServer::ByteServer(std::string bytes, int clients) : bytes_(std::move(bytes)) {
  listener_ = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* const any = reinterpret_cast<sockaddr*>(&address);
  if (listener_ < 0 || ::bind(listener_, any, size) != 0 || ::listen(listener_, 1) != 0 ||
      ::getsockname(listener_, any, &size) != 0)
    throw std::runtime_error("no server socket on the loopback interface");
  url_ = "tcp://127.0.0.1:" + std::to_string(ntohs(address.sin_port));
  thread_ = std::thread([this, clients] {
    for (int i = 0; i < clients; ++i) {
      const int client = ::accept(listener_, nullptr, nullptr);
      if (client < 0) return;
      for (std::size_t sent = 0; sent < bytes_.size();) {
        const ssize_t count =
            ::send(client, bytes_.data() + sent, bytes_.size() - sent, MSG_NOSIGNAL);
        if (count <= 0) break;
        sent += static_cast<std::size_t>(count);
      }
      ::close(client);
    }
    ::shutdown(listener_, SHUT_RDWR);
  });
}

ByteServer::~ByteServer() {
  ::shutdown(listener_, SHUT_RDWR);  // ends accept()
  thread_.join();
  ::close(listener_);
}

}  // namespace test
