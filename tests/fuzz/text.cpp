// Fuzz target: prompts of a conversation, encoded and decoded with the tokenizer of the demo model.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "pllava/text/prompt.hpp"
#include "pllava/text/sampling.hpp"
#include "pllava/text/tokenizer.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const auto tokenizer = pllava::Tokenizer::from_directory(PLLAVA_DEMO_WEIGHTS);
  const std::string text(reinterpret_cast<const char*>(data), size);
  try {
    pllava::Dialogue dialogue(pllava::conversation_template("demo"), pllava::TaskPrompt{});
    dialogue.prefix();
    const auto question = dialogue.ask(text);
    const auto ids = tokenizer.encode(question.text, {.plain = question.plain});
    dialogue.answered(text);
    tokenizer.decode(ids);
    pllava::StreamDecoder decoder(tokenizer, {});
    pllava::StopMatcher stops({"</s>", text.substr(0, 3) + "x"});
    for (const auto id : ids) stops.push(decoder.push(id));
    stops.push(decoder.flush());
  } catch (const pllava::Error&) {
  }
  return 0;
}
