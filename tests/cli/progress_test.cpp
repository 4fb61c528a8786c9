// The program pllava on a terminal: progress and Ctrl-C.
#include <algorithm>
#include <sstream>
#include <string>
#include <vector>

#include <unistd.h>

#include "cli/child.hpp"
#include "cli/fixture.hpp"
#include "support/catch.hpp"
#include "support/clip_writer.hpp"

namespace {

using namespace test;

struct TerminalResult {
  int code;
  std::string out, terminal;
};

/// Runs with stderr on a terminal, and stdout too if `both`.
TerminalResult run_on_terminal(const std::vector<std::string>& arguments,
                               const std::string& input = {}, bool both = false) {
  Pipe in = Pipe::open(), out = Pipe::open();
  Terminal terminal = Terminal::open();
  REQUIRE(::write(in.write.get(), input.data(), input.size()) ==
          static_cast<ssize_t>(input.size()));
  in.write.close();
  Child child(arguments,
              {in.read.get(), both ? terminal.slave.get() : out.write.get(), terminal.slave.get()});
  out.write.close();
  terminal.slave.close();
  TerminalResult result;
  result.terminal = read_all(terminal.master.get());
  result.out = read_all(out.read.get());
  result.code = child.wait();
  return result;
}

/// The text that stays on a terminal, without erased lines.
std::string left_on_screen(const std::string& text) {
  const std::string erase = "\r\033[K";
  std::string screen;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text.compare(i, erase.size(), erase) == 0) {
      screen.resize(screen.rfind('\n') == std::string::npos ? 0 : screen.rfind('\n') + 1);
      i += erase.size() - 1;
    } else if (text[i] != '\r') {
      screen += text[i];
    }
  }
  return screen;
}

void check_stages(const std::string& text, const std::vector<std::string>& stages) {
  std::size_t at = 0;
  for (const std::string& stage : stages) {
    INFO(stage << " in " << text);
    at = text.find(stage, at);
    REQUIRE(at != std::string::npos);
  }
}

TEST_CASE("every command shows its progress", "[program]") {
  const std::vector<std::string> watching = {"load 0/62",    "load 62/62",  "frames 0/16",
                                             "frames 16/16", "preprocess ", "vision 16/16",
                                             "prefill 64/64"};
  std::vector<std::string> answering = watching;
  answering.insert(answering.end(), {"generate 1/6", "generate 2/6, ", " tokens/s"});
  const TerminalResult caption = run_on_terminal(on_tiny({"caption", clip()}));
  CHECK(caption.code == 0);
  check_stages(caption.terminal, answering);
  CHECK(caption.out == run(on_tiny({"caption", clip()})).out);
  const std::string left = left_on_screen(caption.terminal);
  CHECK(std::ranges::count(left, '\n') == 1);
  CHECK(left.find(" tokens, ") != std::string::npos);
  CHECK(left.find(" tokens/s\n") != std::string::npos);

  check_stages(run_on_terminal(on_tiny({"ask", clip(), "What?"})).terminal, answering);
  check_stages(run_on_terminal(on_tiny({"chat", clip()}), "What?\n").terminal, answering);
  const std::string out = (workspace() / "trace.safetensors").string();
  check_stages(run_on_terminal({"trace", clip(), "--model", tiny_model(), "--out", out}).terminal,
               watching);
}

TEST_CASE("progress does not mix with an answer on the same terminal", "[program]") {
  const std::string text = run(on_tiny({"ask", clip(), "What?", "Who?"})).out;
  const TerminalResult result =
      run_on_terminal(on_tiny({"ask", clip(), "What?", "Who?"}), "", true);
  CHECK(result.code == 0);
  std::string left;  // without the lines of the token rate
  std::istringstream lines(left_on_screen(result.terminal));
  for (std::string line; std::getline(lines, line);)
    if (!line.ends_with(" tokens/s")) left += line + '\n';
  CHECK(left == text);
}

TEST_CASE("option --quiet writes nothing to the terminal", "[program]") {
  CHECK(run_on_terminal(on_tiny({"caption", clip(), "--quiet"})).terminal == "");
  CHECK(run_on_terminal(on_tiny({"chat", clip(), "--quiet"}), "What?\n").terminal == "");
}

/// Interrupts the program once its terminal shows `sign`. Checks that it stops with `message`.
void check_interrupted_at(const std::string& sign, const std::vector<std::string>& arguments,
                          const std::string& message) {
  Pipe in = Pipe::open(), out = Pipe::open();
  Terminal terminal = Terminal::open();
  Child child(arguments, {in.read.get(), out.write.get(), terminal.slave.get()});
  child.limit_memory(std::size_t{8} << 30);  // in case it does not stop
  terminal.slave.close();
  std::string text = read_until(terminal.master.get(), sign);
  child.interrupt();
  text += read_all(terminal.master.get());
  CHECK(child.wait() == 130);
  CHECK(left_on_screen(text) == message);
}

TEST_CASE("Ctrl-C cancels the work at its next step", "[program]") {
  // Loading 7B takes minutes.
  check_interrupted_at("load 2/", {"caption", clip(), "--random-weights", "7b", "--dtype", "bf16"},
                       "pllava: cancelled during load\n");
  // The progress of 3,000 frames exceeds the terminal buffer, so the program blocks until it is
  // read.
  const std::string longer = (workspace() / "longer.mp4").string();
  write_clip(longer, {.frames = 3000});
  check_interrupted_at("vision 2/", on_tiny({"caption", longer, "--frames", "3000"}),
                       "pllava: cancelled during vision\n");
}

TEST_CASE("Ctrl-C ends a chat that waits for a question", "[program]") {
  Pipe in = Pipe::open(), out = Pipe::open(), err = Pipe::open();
  Child child(on_tiny({"chat", clip()}), {in.read.get(), out.write.get(), err.write.get()});
  out.write.close();
  err.write.close();
  const std::string question = "What?\n";
  REQUIRE(::write(in.write.get(), question.data(), question.size()) == 6);
  CHECK(read_until(out.read.get(), "\n").size() > 1);
  child.interrupt();  // stdin stays open, so only the signal ends the program
  CHECK(child.wait() == 130);
  const std::string message = read_all(err.read.get());
  CHECK(message.starts_with("pllava: "));
  CHECK(std::ranges::count(message, '\n') == 1);
}

}  // namespace
