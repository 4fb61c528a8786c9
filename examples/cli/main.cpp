// pllava: caption videos and ask questions about them from the command line.
#include <csignal>
#include <exception>
#include <new>

#include "command_line.hpp"
#include "commands.hpp"
#include "output.hpp"

namespace {

int run(const cli::Options& options, const cli::Interrupt& interrupt) {
  cli::Status status(!options.quiet);
  const cli::Context context{options, interrupt, status};
  switch (options.command) {
    case cli::Command::caption: return cli::caption(context);
    case cli::Command::ask: return cli::ask(context);
    case cli::Command::chat: return cli::chat(context);
    case cli::Command::watch: return cli::watch_live(context);
    case cli::Command::trace: return cli::trace(context);
    case cli::Command::inspect: return cli::inspect(context);
    case cli::Command::bench: return cli::bench(context);
    case cli::Command::quantize: return cli::quantize(context);
    case cli::Command::quality: return cli::quality(context);
    case cli::Command::write_random: return cli::write_random(context);
  }
  return cli::kWrongUsage;
}

/// Reports errors of the command.
int run_to_exit_code(const cli::Options& options, const cli::Interrupt& interrupt) {
  try {
    return run(options, interrupt);
  } catch (const std::bad_alloc&) {
    cli::report_error("out of memory");
  } catch (const std::exception& e) {
    cli::report_error(e.what());
  }
  return interrupt.requested() ? cli::kInterrupted : cli::kFailure;
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);  // writes to a closed pipe fail with EPIPE
  std::signal(SIGXFSZ, SIG_IGN);  // writes past the file size limit fail with EFBIG
  try {
    cli::Options options;
    if (const auto done = cli::parse_command_line(argc, argv, options)) return *done;
    const cli::Interrupt interrupt;
    return run_to_exit_code(options, interrupt);
  } catch (const std::exception& e) {
    cli::report_error(e.what());
    return cli::kFailure;
  }
}
