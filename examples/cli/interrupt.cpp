#include "interrupt.hpp"

#include <atomic>
#include <csignal>
#include <string_view>

#include <unistd.h>

#include "output.hpp"

namespace cli {
namespace {

std::atomic<bool> interrupted{false};
std::atomic<bool> ends_program{false};
static_assert(std::atomic<bool>::is_always_lock_free,
              "a signal handler may only use lock-free atomics");

[[noreturn]] void end_program() {
  constexpr std::string_view line = "pllava: interrupted\n";
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, line.data(), line.size());
  ::_exit(kInterrupted);
}

extern "C" void on_interrupt(int) {
  if (ends_program || interrupted.exchange(true)) end_program();
}

}  // namespace

Interrupt::Interrupt() {
  struct sigaction action = {};
  action.sa_handler = on_interrupt;
  action.sa_flags = SA_RESTART;  // no read or write fails with EINTR
  ::sigaction(SIGINT, &action, nullptr);
}

Interrupt::~Interrupt() {
  std::signal(SIGINT, SIG_DFL);
}

pllava::CancelToken Interrupt::token() const noexcept {
  return &interrupted;
}

Interrupt::EndsProgram::EndsProgram() {
  ends_program = true;
  if (interrupted) end_program();
}

Interrupt::EndsProgram::~EndsProgram() {
  ends_program = false;
}

}  // namespace cli
