// Which conversation template a LLaVA model was trained on.
#pragma once

#include <string>
#include <string_view>

#include "pllava/config.hpp"

namespace pllava::detail {

/// Key of the conversation_template() that a model of the family was trained on. LLaVA-NeXT over
/// Vicuna, Yi and LLaMA 3 differ only in their vocabularies of 32,000, 64,000 and 128,256 tokens.
inline std::string llava_template_key(std::string_view model_type, std::string_view decoder,
                                      Index vocab) {
  if (decoder == "mistral") return "llava_mistral";
  if (decoder == "qwen2") return "llava_qwen";
  if (vocab >= 128000) return "llava_llama3";
  if (vocab >= 64000) return model_type == "llava_next_video" ? "llava_video_34b" : "llava_34b";
  return "llava";
}

}  // namespace pllava::detail
