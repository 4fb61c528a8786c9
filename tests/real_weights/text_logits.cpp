// Logits of a language model alone, as raw f32:
// text_logits MODEL IDS OUTPUT TYPE
// IDS holds N token ids as int32. OUTPUT gets (N + 1, V): a row after each id, fed one by one, then
// the last row again, after all ids in one prefill. TYPE: f32, bf16, int8 or int4.
#include <cstdint>
#include <fstream>
#include <iostream>
#include <iterator>
#include <span>
#include <string>
#include <vector>

#include "pllava/models/text_architecture.hpp"
#include "pllava/pllava.hpp"

namespace {

using B = pllava::cpu::Backend;
using pllava::DType;
using pllava::WeightFormat;

std::vector<std::int32_t> read_ids(const char* path) {
  const auto file = pllava::MappedFile::open(path);
  const auto* ids = reinterpret_cast<const std::int32_t*>(file->bytes().data());
  return {ids, ids + file->bytes().size() / sizeof *ids};
}

}  // namespace

int main(int argc, char** argv) try {
  const std::string type = argc == 5 ? argv[4] : "";
  if (type != "f32" && type != "bf16" && type != "int8" && type != "int4") {
    std::cerr << "usage: text_logits MODEL IDS OUTPUT f32|bf16|int8|int4\n";
    return 2;
  }
  pllava::LoadOptions options;
  options.architectures = pllava::text_architectures();
  if (type == "int8") options.quantize = pllava::QuantizeOptions::of(WeightFormat::int8);
  if (type == "int4") options.quantize = pllava::QuantizeOptions::of(WeightFormat::int4);
  const auto checkpoint = pllava::Checkpoint::open(argv[1], options);
  B be({.dtype = type == "f32" ? DType::f32 : DType::bf16});
  const pllava::LanguageModel<B> model(be, checkpoint.config().text, checkpoint["language_model"]);

  const std::vector<std::int32_t> ids = read_ids(argv[2]);
  std::ofstream output(argv[3], std::ios::binary);
  pllava::Tensor<B> logits(be, {1, model.config().vocab}, DType::f32);
  const auto feed = [&](pllava::KvCache<B>& kv, std::span<const std::int32_t> next) {
    model.forward(be, model.embed(be, next), kv, logits);
    std::vector<float> row(static_cast<std::size_t>(model.config().vocab));
    be.download(row.data(), logits);
    output.write(reinterpret_cast<const char*>(row.data()),
                 static_cast<std::streamsize>(row.size() * sizeof(float)));
  };
  const auto capacity = static_cast<pllava::Index>(ids.size());
  auto one_by_one = model.make_cache(be, capacity), at_once = model.make_cache(be, capacity);
  for (const std::int32_t& id : ids) feed(one_by_one, {&id, 1});
  feed(at_once, ids);
  return output.flush() ? 0 : 1;
} catch (const pllava::Error& e) {
  std::cerr << "text_logits: " << e.what() << '\n';
  return 1;
}
