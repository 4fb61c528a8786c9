// Token ids of texts: token_ids MODEL < TEXTS
// Each text ends with a zero byte. Prints a line of ids for each, without BOS.
#include <iostream>
#include <string>

#include "pllava/pllava.hpp"

int main(int argc, char** argv) try {
  if (argc != 2) {
    std::cerr << "usage: token_ids MODEL < TEXTS\n";
    return 2;
  }
  const auto tokenizer = pllava::read_tokenizer(argv[1]);
  for (std::string text; std::getline(std::cin, text, '\0');) {
    for (const auto id : tokenizer.encode(text, {.bos = false})) std::cout << id << ' ';
    std::cout << '\n';
  }
} catch (const pllava::Error& e) {
  std::cerr << "token_ids: " << e.what() << '\n';
  return 1;
}
