// GGUF files: values, tensors of every type against gguf's own dequantisation
// (tests/data/make_gguf_goldens.py), and damaged files.
#include "pllava/weights/gguf.hpp"

#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "pllava/weights/safetensors.hpp"
#include "support/catch.hpp"
#include "support/goldens.hpp"
#include "support/message_of.hpp"
#include "support/temp_directory.hpp"

namespace {

using namespace pllava;

const std::filesystem::path kData = std::filesystem::path(PLLAVA_TEST_DATA) / "gguf";

std::string bytes_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// Little-endian numbers, strings and other parts of a GGUF file.
struct Bytes {
  std::string text = "GGUF";

  template <class T>
  Bytes& number(T value) {
    char raw[sizeof value];
    std::memcpy(raw, &value, sizeof value);
    text.append(raw, sizeof raw);
    return *this;
  }
  Bytes& string(const std::string& value) {
    number(std::uint64_t{value.size()});
    text += value;
    return *this;
  }
  Bytes& header(std::uint64_t tensors, std::uint64_t keys) {
    return number(std::uint32_t{3}).number(tensors).number(keys);
  }
  Bytes& tensor(const std::string& name, std::vector<std::uint64_t> dims, std::uint32_t type,
                std::uint64_t offset) {
    string(name).number(static_cast<std::uint32_t>(dims.size()));
    for (const std::uint64_t dim : dims) number(dim);
    return number(type).number(offset);
  }
  Bytes& data(std::size_t size) {
    text.resize((text.size() + 31) / 32 * 32 + size);
    return *this;
  }
};

std::string error_for(const std::string& bytes) {
  const test::TempDirectory dir;
  const auto path = dir.write("x.gguf", bytes);
  return test::message_of<LoadError>([&] { GgufFile::open(path); });
}

TEST_CASE("The metadata of a GGUF file are read with their types", "[gguf]") {
  const GgufFile file = GgufFile::open(kData / "types.gguf");
  CHECK(file.get<std::string>("general.architecture") == "llama");
  CHECK(file.get<std::uint64_t>("test.small") == 7);
  CHECK(file.get<std::int64_t>("test.small") == 7);
  CHECK(file.get<std::int64_t>("test.negative") == -3);
  CHECK(file.get<double>("test.float") == 0.5);
  CHECK(file.get<bool>("test.flag"));
  CHECK(file.get<std::string>("test.text") == "gr\u00fc\u00dfe");
  CHECK(file.get<std::vector<std::int64_t>>("test.numbers") == std::vector<std::int64_t>{1, -2, 3});
  CHECK(file.get<std::vector<std::string>>("test.texts") ==
        std::vector<std::string>{"a", "", "b c"});
  CHECK_FALSE(file.has("test.none"));
  CHECK_THROWS_AS(file.get<bool>("test.none"), LoadError);
  CHECK_THROWS_AS(file.get<std::uint64_t>("test.negative"), LoadError);
  CHECK_THROWS_AS(file.get<std::string>("test.flag"), LoadError);
}

TEST_CASE("GGUF tensors of every type equal gguf's own dequantisation", "[gguf]") {
  const GgufFile file = GgufFile::open(kData / "types.gguf");
  const SafetensorsFile golden = SafetensorsFile::open(kData / "types.safetensors");
  REQUIRE(file.entries().size() == golden.entries().size());
  for (const GgufEntry& entry : file.entries()) {
    INFO(entry.name << " " << name_of(entry.type));
    const HostTensor tensor = file.tensor(entry.name), expected = golden.tensor(entry.name);
    CHECK(tensor.shape == expected.shape);
    const std::vector<float> right = test::golden_floats(golden, entry.name);
    for (std::size_t i = 0; i < right.size(); ++i) {
      const float value = load_float(tensor.data, tensor.dtype, static_cast<Index>(i));
      if (value != Approx(right[i]).epsilon(1e-6).margin(1e-6)) {
        FAIL("element " << i << " is " << value << ", not " << right[i]);
      }
    }
  }
  CHECK(file.tensor("f16").dtype == DType::f16);
  CHECK(file.tensor("bf16").dtype == DType::bf16);
  CHECK(file.tensor("q6_k").dtype == DType::f32);
  CHECK(file.find("none") == nullptr);
  CHECK_THROWS_AS(file.tensor("none"), LoadError);
}

TEST_CASE("Every cut GGUF file is refused", "[gguf]") {
  const std::string whole = bytes_of(kData / "types.gguf");
  // The last tensor's data, and padding that writers may leave out, end the file.
  for (std::size_t size = 0; size + 64 < whole.size(); size += size < 2000 ? 1 : 501) {
    INFO(size);
    CHECK_FALSE(error_for(whole.substr(0, size)).empty());
  }
  CHECK(error_for(whole).empty());
}

TEST_CASE("Wrong GGUF files are refused by name", "[gguf]") {
  constexpr std::uint64_t kHuge = std::uint64_t{1} << 62;
  const auto refused = [](const std::string& bytes, const std::string& what) {
    const std::string error = error_for(bytes);
    INFO(error);
    CHECK(test::contains(error, what));
  };
  refused("GGML", "not a GGUF file");
  refused(Bytes{}.number(std::uint32_t{1}).text, "unsupported version");
  refused(Bytes{}.header(0, kHuge).text, "the file is cut");
  refused(Bytes{}.header(0, 1).number(kHuge).text, "the file is cut");
  refused(Bytes{}.header(0, 1).string("k").number(std::uint32_t{77}).text, "unknown type");
  refused(Bytes{}
              .header(0, 1)
              .string("k")
              .number(std::uint32_t{9})
              .number(std::uint32_t{8})
              .number(kHuge)
              .text,
          "the file is cut");
  refused(Bytes{}.header(0, 1).string("k").number(std::uint32_t{7}).number(std::uint8_t{2}).text,
          "not a Boolean");
  const auto key = [](Bytes& b) -> Bytes& {
    return b.string("k").number(std::uint32_t{4}).number(std::uint32_t{1});
  };
  Bytes twice;
  twice.header(0, 2);
  refused(key(key(twice)).text, "a key occurs twice");
  const auto one = [&](std::vector<std::uint64_t> dims, std::uint32_t type, std::uint64_t offset) {
    return Bytes{}.header(1, 0).tensor("t", std::move(dims), type, offset).data(64).text;
  };
  CHECK(error_for(one({16}, 0, 0)).empty());
  refused(one({17}, 0, 0), "the file is cut");
  refused(one({16}, 0, 32), "the file is cut");
  refused(one({1}, 0, 4), "not aligned");
  refused(one({16}, 2, 0), "does not fill its blocks");
  refused(one({}, 0, 0), "number of dimensions");
  refused(one({1, 1, 1, 1, 1}, 0, 0), "number of dimensions");
  refused(one({0}, 0, 0), "out of range");
  refused(one({kHuge, kHuge}, 0, 0), "out of range");
  refused(one({std::uint64_t{1} << 40, std::uint64_t{1} << 40}, 0, 0), "too large");
  refused(Bytes{}.header(2, 0).tensor("t", {8}, 0, 0).tensor("t", {8}, 0, 32).data(64).text,
          "occurs twice");
  refused(Bytes{}.header(2, 0).tensor("a", {16}, 0, 0).tensor("b", {8}, 0, 32).data(64).text,
          "overlap");
  refused(Bytes{}
              .header(0, 1)
              .string("general.alignment")
              .number(std::uint32_t{4})
              .number(std::uint32_t{3})
              .text,
          "invalid alignment");
  const test::TempDirectory dir;
  const GgufFile unknown = GgufFile::open(dir.write("u.gguf", one({16}, 99, 0)));
  CHECK(test::contains(test::message_of<LoadError>([&] { unknown.tensor("t"); }), "type 99"));
}

}  // namespace
