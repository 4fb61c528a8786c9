// write-random: writes a checkpoint of random weights in the published layout.
#include <algorithm>
#include <filesystem>

#include "commands.hpp"
#include "output.hpp"
#include "pllava/checkpoint/random_checkpoint.hpp"
#include "pllava/io/detail/output_file.hpp"
#include "pllava/io/mapped_file.hpp"
#include "pllava/text/prompt.hpp"
#include "pllava/text/tokenizer.hpp"

namespace cli {
namespace {

namespace fs = std::filesystem;

/// Writes a copy of a file.
void write_copy(const fs::path& from, const fs::path& to) {
  const auto source = pllava::MappedFile::open(from);
  pllava::detail::OutputFile file(to);
  file.write(source->bytes().data(), source->bytes().size());
  file.commit();
}

}  // namespace

int write_random(const Context& context) {
  const Options& o = context.options;
  const auto tokenizer = pllava::Tokenizer::from_file(o.tokenizer);
  const auto image = tokenizer.id_of(pllava::kVideoToken);
  if (!image)
    throw pllava::PromptError(o.tokenizer + ": no token \"" + std::string(pllava::kVideoToken) +
                              "\"");
  pllava::ModelConfig config = pllava::ModelConfig::preset(o.preset);
  config.image_token = *image;
  config.text.vocab = std::max(config.text.vocab, tokenizer.size());
  const Interrupt::EndsProgram guard;  // the directory appears when it is complete
  pllava::detail::OutputDirectory directory(o.out);
  pllava::write_random_checkpoint(directory.part(), config, o.generate.sampling.seed,
                                  pllava::DType::bf16);
  write_copy(o.tokenizer, directory.part() / "tokenizer.json");
  directory.commit();
  return kSuccess;
}

}  // namespace cli
