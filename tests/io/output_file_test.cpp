// Files and directories that are created completely or not at all.
#include "pllava/io/detail/output_file.hpp"

#include <atomic>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include <sys/stat.h>

#include "support/catch.hpp"
#include "support/temp_directory.hpp"

namespace {

namespace fs = std::filesystem;
using pllava::FileError;
using pllava::detail::OutputDirectory;
using pllava::detail::OutputFile;

std::string content(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::size_t files_in(const fs::path& directory) {
  return static_cast<std::size_t>(
      std::distance(fs::directory_iterator(directory), fs::directory_iterator()));
}

TEST_CASE("A file appears when it is committed, and not before", "[output_file]") {
  const test::TempDirectory dir;
  dir.write("a", "old");
  {
    OutputFile file(dir / "a");
    file.write("new", 3);
    CHECK(content(dir / "a") == "old");
  }
  CHECK(content(dir / "a") == "old");
  CHECK(files_in(dir.path()) == 1);
  OutputFile file(dir / "a");
  file.write("new", 3);
  file.commit();
  CHECK(content(dir / "a") == "new");
  CHECK(files_in(dir.path()) == 1);
}

TEST_CASE("Links, FIFOs, devices and directories are not replaced", "[output_file]") {
  const test::TempDirectory dir;
  dir.write("target", "kept");
  fs::create_symlink(dir / "target", dir / "link");
  fs::create_directory(dir / "directory");
  REQUIRE(::mkfifo((dir / "fifo").c_str(), 0600) == 0);
  for (const fs::path& path :
       {dir / "link", dir / "fifo", dir / "directory", fs::path("/dev/null")})
    CHECK_THROWS_AS(OutputFile(path), FileError);
  CHECK(content(dir / "target") == "kept");
  CHECK(fs::is_symlink(dir / "link"));
  CHECK_THROWS_AS(OutputFile(dir / "none" / "a"), FileError);
}

TEST_CASE("Parts of killed writers are removed, those of running ones stay", "[output_file]") {
  const test::TempDirectory dir;
  dir.write("a.1234-0.part", "abandoned");
  fs::create_directory(dir / "a.1234-1.part");
  dir.write("a.b.part", "of another program");
  OutputFile running(dir / "a");
  OutputFile second(dir / "a");
  CHECK_FALSE(fs::exists(dir / "a.1234-0.part"));
  CHECK_FALSE(fs::exists(dir / "a.1234-1.part"));
  CHECK(fs::exists(dir / "a.b.part"));
  running.write("first", 5);
  running.commit();
  second.commit();
  CHECK(content(dir / "a").empty());
}

TEST_CASE("A directory appears when it is committed", "[output_file]") {
  const test::TempDirectory dir;
  {
    const OutputDirectory abandoned(dir / "new");
    std::ofstream(abandoned.part() / "file") << "text";
  }
  CHECK(fs::is_empty(dir.path()));
  OutputDirectory directory((dir / "new").string() + "/");
  std::ofstream(directory.part() / "file") << "text";
  CHECK_FALSE(fs::exists(dir / "new"));
  directory.commit();
  CHECK(content(dir / "new" / "file") == "text");
  CHECK_THROWS_AS(OutputDirectory(dir / "new"), FileError);
}

TEST_CASE("An abandoned directory takes the parents with it that it created", "[output_file]") {
  const test::TempDirectory dir;
  fs::create_directory(dir / "kept");
  { const OutputDirectory abandoned(dir / "kept" / "a" / "b" / "new"); }
  CHECK(fs::is_empty(dir / "kept"));
  dir.write("file", "");
  CHECK_THROWS_AS(OutputDirectory(dir / "file" / "a" / "new"), FileError);
  CHECK(files_in(dir.path()) == 2);
  {
    const OutputDirectory abandoned(dir / "a" / "new");
    dir.write("a/other", "");
  }
  CHECK(fs::exists(dir / "a" / "other"));
}

TEST_CASE("A directory that cannot be flushed does not appear", "[output_file]") {
  const test::TempDirectory dir;
  {
    OutputDirectory directory(dir / "new");
    fs::create_symlink("nowhere", directory.part() / "link");
    CHECK_THROWS_AS(directory.commit(), FileError);
  }
  CHECK(fs::is_empty(dir.path()));
}

TEST_CASE("A writer that starts does not remove the part of another that starts",
          "[output_file][threads]") {
  const test::TempDirectory dir;
  std::atomic<int> failures{0};
  {
    std::vector<std::jthread> writers;
    for (int i = 0; i < 4; ++i)
      writers.emplace_back([&] {
        for (int round = 0; round < 200; ++round) try {
            OutputFile file(dir / "a");
            file.write("text", 4);
            file.commit();
            const OutputDirectory abandoned(dir / "b");
            std::ofstream(abandoned.part() / "file") << "text";
            if (!fs::exists(abandoned.part() / "file")) ++failures;
          } catch (const FileError&) {
            ++failures;
          }
      });
  }
  CHECK(failures == 0);
  CHECK(content(dir / "a") == "text");
  CHECK(files_in(dir.path()) == 1);
}

}  // namespace
