// The safetensors reader and writer: round trip, malformed files, failed writes.
#include "pllava/weights/safetensors.hpp"

#include <csignal>
#include <random>

#include <sys/resource.h>

#include "support/catch.hpp"
#include "support/checkpoint_writer.hpp"

using namespace pllava;

TEST_CASE("A safetensors file reads back as written", "[safetensors]") {
  const test::TempDirectory dir;
  const auto path = dir.path() / "x.safetensors";
  const std::vector<NamedTensor> tensors = {test::floats("b", {2, 3}, {1, 2, 3, 4, 5, 6}),
                                            test::floats("a", {1}, {7})};
  write_safetensors(path, tensors, {{"format", "pt"}});
  const auto file = SafetensorsFile::open(path);
  REQUIRE(file.entries().size() == 2);
  CHECK(file.entries()[0].name == "a");  // by element size, then name
  CHECK(file.entries()[0].offset % 8 == 0);
  CHECK(file.metadata().at("format") == "pt");
  const HostTensor b = file.tensor("b");
  CHECK(b.shape == Shape{2, 3});
  for (Index i = 0; i < 6; ++i) CHECK(load_float(b.data, b.dtype, i) == float(i + 1));
  CHECK(test::contains(test::message_of<LoadError>([&] { file.tensor("c"); }), "no such tensor"));
  CHECK(std::distance(std::filesystem::directory_iterator(dir.path()), {}) ==
        1);  // no temporary file
}

TEST_CASE("A tensor outlives its file object and releasing its pages", "[safetensors]") {
  const test::TempDirectory dir;
  const std::vector<NamedTensor> tensors = {test::floats("a", {2}, {7, 8})};
  write_safetensors(dir.path() / "x", tensors);
  const auto file = SafetensorsFile::open(dir.path() / "x");
  { const HostTensor released = file.tensor("a"); }
  const HostTensor a = SafetensorsFile::open(dir.path() / "x").tensor("a");
  CHECK(load_float(a.data, a.dtype, 1) == 8.0f);
  CHECK(load_float(file.tensor("a").data, a.dtype, 0) == 7.0f);
}

TEST_CASE("A tensor at an unaligned offset is returned aligned", "[safetensors]") {
  const test::TempDirectory dir;
  std::string header = R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})";
  while (header.size() % 4 != 1) header += ' ';
  test::write_file(dir.path() / "x", test::raw_safetensors(header, 4));
  const HostTensor a = SafetensorsFile::open(dir.path() / "x").tensor("a");
  CHECK(reinterpret_cast<std::uintptr_t>(a.data) % 4 == 0);
}

TEST_CASE("A malformed safetensors file is rejected with the reason", "[safetensors]") {
  struct Case {
    std::string bytes, problem;
  };
  const auto raw = [](const std::string& header, std::size_t data) {
    return test::raw_safetensors(header, data);
  };
  const std::string a = R"("a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]})";
  const std::vector<Case> cases = {
      {"abc", "truncated"},
      {raw("{}", 0).substr(0, 9), "truncated"},
      {std::string("\xff\xff\xff\xff\xff\xff\xff\xff{}", 10), "too long"},
      {raw(" {}", 0), "begins with '{'"},
      {raw("{\"a\":", 0), "not valid JSON"},
      {raw("{" + a + "," + a + "}", 4), "occurs twice"},
      {raw("{" + a + "}", 3), "truncated"},
      {raw("{" + a + "}", 5), "belong to no tensor"},
      {raw("{" + a + R"(,"b":{"dtype":"U8","shape":[2],"data_offsets":[3,5]}})", 5), "overlap"},
      {raw("{" + a + R"(,"b":{"dtype":"U8","shape":[2],"data_offsets":[5,7]}})", 7), "gap before"},
      {raw(R"({"a":{"dtype":"F33","shape":[1],"data_offsets":[0,4]}})", 4), "unknown dtype"},
      {raw(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", 4), "disagree"},
      {raw(R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", 4), "malformed"},
      {raw(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}})", 4), "malformed"},
      {raw(R"({"a":{"dtype":"F32","shape":[1]}})", 4), "malformed"},
      {raw(R"({"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,4]}})", 4),
       "overflows"},
      {raw(R"({"a":{"dtype":"U8","shape":[4611686018427387904,2,0],"data_offsets":[0,0]}})", 0),
       "overflows"},
      {raw(R"({"a":{"dtype":"F32","shape":[1e2],"data_offsets":[0,4]}})", 4), "malformed"},
      {raw(R"({"a":{"dtype":"F32","shape":[18446744073709551616],"data_offsets":[0,4]}})", 4),
       "malformed"},
      {raw(R"({"a":{"dtype":"F32","shape":[NaN],"data_offsets":[0,4]}})", 4), "not valid JSON"},
      {raw("{\"\xff\":{}}", 0), "not valid JSON"},
      {raw(R"({"a":[]})", 0), "malformed"},
      {raw(R"({"__metadata__":{"a":1}})", 0), "malformed metadata"},
      {raw("{\"a\":" + std::string(1000, '[') + std::string(1000, ']') + "}", 0), "too deeply"}};
  const test::TempDirectory dir;
  for (const Case& c : cases) {
    test::write_file(dir.path() / "x", c.bytes);
    const std::string message =
        test::message_of<LoadError>([&] { SafetensorsFile::open(dir.path() / "x"); });
    INFO(c.problem << " in: " << message);
    CHECK(test::contains(message, c.problem));
    CHECK(test::contains(message, (dir.path() / "x").string()));
  }
  CHECK(test::contains(test::message_of<LoadError>([&] { SafetensorsFile::open(dir.path()); }),
                       "a directory"));
}

TEST_CASE("A failed write leaves the directory unchanged", "[safetensors]") {
  const test::TempDirectory dir;
  const std::vector<NamedTensor> twice(2, test::floats("a", {1}, {1}));
  CHECK_THROWS_AS(write_safetensors(dir.path() / "x", twice), ArgumentError);
  CHECK_THROWS_AS(write_safetensors(dir.path() / "no" / "x", {}), FileError);
  CHECK(std::filesystem::is_empty(dir.path()));
}

TEST_CASE("A tensor of an unsupported dtype or rank has an entry but cannot be read",
          "[safetensors]") {
  const test::TempDirectory dir;
  const std::string header = R"({"i":{"dtype":"I64","shape":[1],"data_offsets":[0,8]},)"
                             R"("r":{"dtype":"U8","shape":[1,1,1,1,1],"data_offsets":[8,9]},)"
                             R"("z":{"dtype":"F32","shape":[0,3],"data_offsets":[9,9]}})";
  const auto path = dir.write("x", test::raw_safetensors(header, 9));
  const auto file = SafetensorsFile::open(path);
  REQUIRE(file.find("i") != nullptr);
  CHECK(file.find("i")->format_dtype == "I64");
  CHECK_FALSE(file.find("i")->dtype);
  CHECK(file.find("r")->dims == std::vector<Index>(5, 1));
  CHECK(test::contains(test::message_of<LoadError>([&] { file.tensor("i"); }), "I64"));
  CHECK(test::contains(test::message_of<LoadError>([&] { file.tensor("r"); }), "rank"));
  CHECK(file.tensor("z").shape == Shape{0, 3});
}

TEST_CASE("A write that fails midway leaves the old file", "[safetensors]") {
  const test::TempDirectory dir;
  const auto path = dir.path() / "x";
  const std::vector<NamedTensor> small = {test::floats("a", {1}, {7})};
  const std::vector<NamedTensor> large = {test::floats("a", {100'000}, {})};
  write_safetensors(path, small);
  // A file size limit simulates a full disk.
  rlimit limit{};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &limit) == 0);
  const rlimit tight{4096, limit.rlim_max};
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &tight) == 0);
  const std::string message = test::message_of<FileError>([&] { write_safetensors(path, large); });
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &limit) == 0);
  std::signal(SIGXFSZ, old_handler);
  CHECK(test::contains(message, "cannot be written"));
  CHECK(test::contains(message, path.string()));
  CHECK(SafetensorsFile::open(path).tensor("a").shape == Shape{1});
  CHECK(std::distance(std::filesystem::directory_iterator(dir.path()), {}) == 1);
  // The rename can fail too: a file cannot replace a directory.
  std::filesystem::create_directory(dir.path() / "d");
  CHECK_THROWS_AS(write_safetensors(dir.path() / "d", small), FileError);
  CHECK(std::distance(std::filesystem::directory_iterator(dir.path()), {}) == 2);
  write_safetensors(path, large);
  CHECK(SafetensorsFile::open(path).tensor("a").shape == Shape{100'000});
}

TEST_CASE("A corrupted safetensors file is either rejected or read correctly", "[safetensors]") {
  const test::TempDirectory dir;
  const auto path = dir.path() / "x";
  const std::vector<NamedTensor> tensors = {test::floats("model.a.weight", {2, 3}, {}),
                                            test::floats("model.b.bias", {4}, {})};
  write_safetensors(path, tensors, {{"format", "pt"}});
  const std::string good = test::read_file(path);
  std::mt19937 random(20240416);
  int refused = 0, read = 0;
  for (int i = 0; i < 2000; ++i) {
    std::string bytes = good;
    for (int flips = 1 + i % 3; flips > 0; --flips)
      bytes[random() % (good.size() - 40)] = static_cast<char>(random());  // 40 bytes of data
    if (i % 4 == 3) bytes.resize(random() % bytes.size());
    test::write_file(path, bytes);
    try {
      const auto file = SafetensorsFile::open(path);
      for (const SafetensorsEntry& e : file.entries()) {
        const HostTensor t = file.tensor(e.name);
        for (std::size_t k = 0; k < e.size; ++k) CHECK(t.data[k] == std::byte{0});
      }
      ++read;
    } catch (const LoadError& e) {
      REQUIRE(test::contains(e.what(), path.string()));
      ++refused;
    }
  }
  CHECK(refused > 1500);  // most corruptions are detected
  CHECK(read > 20);       // changes of names or metadata are not
}
