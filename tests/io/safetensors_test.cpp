// The safetensors reader and writer: round trip, and every way a file can lie.
#include "pllava/io/safetensors.hpp"

#include "support/catch.hpp"
#include "support/checkpoint_writer.hpp"

using namespace pllava;

TEST_CASE("A written safetensors file reads back as it was", "[safetensors]") {
  const test::TempDirectory dir;
  const auto path = dir.path / "x.safetensors";
  const std::vector<NamedTensor> tensors = {test::floats("b", {2, 3}, {1, 2, 3, 4, 5, 6}),
                                            test::floats("a", {1}, {7})};
  write_safetensors(path, tensors, {{"format", "pt"}});
  const auto file = SafetensorsFile::open(path);
  REQUIRE(file.entries().size() == 2);
  CHECK(file.entries()[0].name == "a");  // by name within one element size
  CHECK(file.entries()[0].offset % 8 == 0);
  CHECK(file.metadata().at("format") == "pt");
  const HostTensor b = file.tensor("b");
  CHECK(b.shape == Shape{2, 3});
  for (Index i = 0; i < 6; ++i) CHECK(load_float(b.data, b.dtype, i) == float(i + 1));
  CHECK(test::contains(test::message_of<LoadError>([&] { file.tensor("c"); }), "no such tensor"));
  CHECK(std::distance(std::filesystem::directory_iterator(dir.path), {}) ==
        1);  // nothing left over
}

TEST_CASE("A tensor outlives its file object and survives giving its pages back", "[safetensors]") {
  const test::TempDirectory dir;
  const std::vector<NamedTensor> tensors = {test::floats("a", {2}, {7, 8})};
  write_safetensors(dir.path / "x", tensors);
  const auto file = SafetensorsFile::open(dir.path / "x");
  { const HostTensor gone = file.tensor("a"); }
  const HostTensor a = SafetensorsFile::open(dir.path / "x").tensor("a");
  CHECK(load_float(a.data, a.dtype, 1) == 8.0f);
  CHECK(load_float(file.tensor("a").data, a.dtype, 0) == 7.0f);
}

TEST_CASE("A tensor at an odd offset is handed out aligned", "[safetensors]") {
  const test::TempDirectory dir;
  std::string header = R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})";
  while (header.size() % 4 != 1) header += ' ';
  test::write_file(dir.path / "x", test::raw_safetensors(header, 4));
  const HostTensor a = SafetensorsFile::open(dir.path / "x").tensor("a");
  CHECK(reinterpret_cast<std::uintptr_t>(a.data) % 4 == 0);
}

TEST_CASE("A safetensors file that lies is refused with the reason", "[safetensors]") {
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
      {raw("{" + a + R"(,"b":{"dtype":"U8","shape":[2],"data_offsets":[5,7]}})", 7), "hole"},
      {raw(R"({"a":{"dtype":"F33","shape":[1],"data_offsets":[0,4]}})", 4), "unknown dtype"},
      {raw(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", 4), "disagree"},
      {raw(R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", 4), "malformed"},
      {raw(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}})", 4), "malformed"},
      {raw(R"({"a":{"dtype":"F32","shape":[1]}})", 4), "malformed"},
      {raw(R"({"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,4]}})", 4),
       "overflows"}};
  const test::TempDirectory dir;
  for (const Case& c : cases) {
    test::write_file(dir.path / "x", c.bytes);
    const std::string message =
        test::message_of<LoadError>([&] { SafetensorsFile::open(dir.path / "x"); });
    INFO(c.problem << " in: " << message);
    CHECK(test::contains(message, c.problem));
    CHECK(test::contains(message, (dir.path / "x").string()));
  }
  CHECK(test::contains(test::message_of<LoadError>([&] { SafetensorsFile::open(dir.path); }),
                       "a directory"));
}

TEST_CASE("A failed write leaves the directory as it was", "[safetensors]") {
  const test::TempDirectory dir;
  const std::vector<NamedTensor> twice(2, test::floats("a", {1}, {1}));
  CHECK_THROWS_AS(write_safetensors(dir.path / "x", twice), ArgumentError);
  CHECK_THROWS_AS(write_safetensors(dir.path / "no" / "x", {}), LoadError);
  CHECK(std::filesystem::is_empty(dir.path));
}
