// Mapped files: bytes, lifetime, errors.
#include "pllava/io/mapped_file.hpp"

#include <fstream>

#include <sys/stat.h>
#include <unistd.h>

#include "pllava/error.hpp"
#include "support/catch.hpp"
#include "support/checkpoint_writer.hpp"

using namespace pllava;

TEST_CASE("A mapped file has its bytes, also after releasing pages", "[mapped_file]") {
  const test::TempDirectory dir;
  std::string text(100'000, 'x');
  for (std::size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(i * 7 % 251);
  const auto file = MappedFile::open(dir.write("x", text));
  const auto same = [&] {
    return std::string(reinterpret_cast<const char*>(file->bytes().data()), file->bytes().size()) ==
           text;
  };
  CHECK(same());
  file->release(4095, 50'000);
  file->release(99'999, 1'000'000);  // ends after the file
  file->release(200'000, 1);         // starts after the file
  file->release(0, static_cast<std::size_t>(-1));
  CHECK(same());
  std::filesystem::remove(dir.path() / "x");
  CHECK(same());
  CHECK(file->path() == (dir.path() / "x").string());
}

TEST_CASE("An empty file maps to no bytes", "[mapped_file]") {
  const test::TempDirectory dir;
  const auto file = MappedFile::open(dir.write("x", ""));
  CHECK(file->bytes().empty());
  file->release(0, 1);
}

TEST_CASE("Opening anything but a readable file throws with its path and the reason",
          "[mapped_file]") {
  const test::TempDirectory dir;
  REQUIRE(::mkfifo((dir.path() / "pipe").c_str(), 0600) == 0);
  std::filesystem::create_symlink("nowhere", dir.path() / "dangling");
  const std::pair<std::filesystem::path, std::string> cases[] = {
      {dir.path() / "missing", "cannot be opened: No such file"},
      {dir.path() / "dangling", "cannot be opened: No such file"},
      {dir.path(), "a directory"},
      {dir.path() / "pipe", "a special file"}};
  for (const auto& [path, reason] : cases) {
    const std::string message =
        test::message_of<LoadError>([&path = path] { MappedFile::open(path); });
    INFO(message);
    CHECK(message.starts_with(path.string() + ": "));
    CHECK(test::contains(message, reason));
  }
}

#if defined(__linux__)
TEST_CASE("Released pages are no longer resident", "[mapped_file]") {
  const auto resident = [] {
    std::ifstream statm("/proc/self/statm");
    long total = 0, pages = 0;
    statm >> total >> pages;
    return pages * ::sysconf(_SC_PAGESIZE);
  };
  constexpr long kSize = 32 << 20;
  const test::TempDirectory dir;
  const auto file = MappedFile::open(dir.write("x", std::string(kSize, 'x')));
  const auto bytes = file->bytes();
  std::size_t sum = 0;
  for (std::size_t i = 0; i < bytes.size(); i += 512) sum += static_cast<std::size_t>(bytes[i]);
  CHECK(sum == bytes.size() / 512 * 'x');
  const long touched = resident();
  file->release(0, bytes.size());
  CHECK(resident() < touched - kSize / 2);
}
#endif
