// Writes a checkpoint of the smallest preset with random weights: something to load where no
// trained model is at hand. What it says means nothing.
//   write_tiny_checkpoint FOLDER TOKENIZER_JSON
#include <exception>
#include <filesystem>
#include <iostream>

#include "pllava/pllava.hpp"

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: write_tiny_checkpoint FOLDER TOKENIZER_JSON\n";
    return 2;
  }
  try {
    const std::filesystem::path folder = argv[1];
    const auto tokenizer = pllava::Tokenizer::from_file(argv[2]);

    auto config = pllava::ModelConfig::preset("tiny");
    config.text.vocab = tokenizer.size();
    config.image_token = tokenizer.id_of("<image>").value();
    pllava::write_random_checkpoint(folder, config, /*seed=*/7, pllava::DType::bf16);
    std::filesystem::copy_file(argv[2], folder / "tokenizer.json",
                               std::filesystem::copy_options::overwrite_existing);
    std::cout << "wrote " << folder.string() << '\n';
  } catch (const std::exception& e) {
    std::cerr << "write_tiny_checkpoint: " << e.what() << '\n';
    return 1;
  }
}
