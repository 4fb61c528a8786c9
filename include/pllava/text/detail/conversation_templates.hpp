// The built-in conversation templates: those of the reference, and those of other model families.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "pllava/text/prompt.hpp"

namespace pllava::detail {

constexpr std::string_view kSystemVcg =
    "You are Video-ChatGPT, a large vision-language assistant. You are able to understand the "
    "video content that the user provides, and assist the user with a variety of tasks using "
    "natural language.Follow the instructions carefully and explain your answers in detail based "
    "on the provided video.";
constexpr std::string_view kSystemMvbench =
    "Carefully watch the video and pay attention to the cause and sequence of events, the detail "
    "and movement of objects, and the action and pose of persons. Based on your observations, "
    "select the best option that accurately addresses the question.\n";
constexpr std::string_view kSystemRecaption =
    "You are a powerful Video Magic ChatBot, a large vision-language assistant. \n"
    "You are able to understand the video content that the user provides and assist the user in a "
    "video recaptioning task.\n"
    "The user will provide you with the video and maybe some extra noisy information to help you "
    "out. Make use of the information in a proper way to be competent for the recaption job\n"
    "### INSTRUCTIONS:\n"
    "1. Follow the user's instruction.\n"
    "2. Be critical yet believe in yourself.\n";
constexpr std::string_view kSystemDemo =
    "You are a powerful Video Magic ChatBot, a large vision-language assistant. \n"
    "You are able to understand the video content that the user provides and assist the user in a "
    "video-language related task.\n"
    "The user might provide you with the video and maybe some extra noisy information to help you "
    "out or ask you a question. Make use of the information in a proper way to be competent for "
    "the job.\n"
    "### INSTRUCTIONS:\n"
    "1. Follow the user's instruction.\n"
    "2. Be critical yet believe in yourself.\n";
constexpr std::string_view kPreQuery =
    "The input consists of a sequence of key frames from a video. Answer the question concisely "
    "first and followed by significant events, characters, or objects that appear throughout the "
    "frames. Question:";
constexpr std::string_view kPostQuery = "\n";
constexpr std::string_view kAnswerPrompt = "\nAnswer: In the video,";

PLLAVA_INLINE std::vector<ConversationTemplate> reference_templates() {
  using Pair = std::array<std::string, 2>;
  const Pair vicuna_roles{"USER: ", "ASSISTANT:"};
  const Pair plain_roles{"USER:", "ASSISTANT:"};
  const Pair chatml_roles{"<|im_start|>user\n", "<|im_start|>assistant\n"};
  const Pair vicuna_sep{" ", "</s>"};
  const Pair chatml_sep{"<|im_end|>\n", "<|im_end|>\n"};
  const std::string token(kVideoToken);
  const std::string token_line = token + "\n";
  constexpr VideoStyle alone = VideoStyle::alone;
  constexpr VideoStyle interleaved = VideoStyle::interleaved;
  const std::string vcg(kSystemVcg), mvbench(kSystemMvbench), recaption(kSystemRecaption);
  std::vector<ConversationTemplate> templates{
      {"plain", "", plain_roles, vicuna_sep, token, interleaved},
      {"eval_vcgbench", vcg, vicuna_roles, vicuna_sep, token_line, alone},
      {"eval_mvbench", mvbench, vicuna_roles, vicuna_sep, token_line, alone},
      {"eval_videoqabench", "", vicuna_roles, vicuna_sep, token_line, interleaved},
      {"eval_recaption", recaption, vicuna_roles, vicuna_sep, token_line, alone},
      {"eval_vcg_llavanext", vcg, chatml_roles, chatml_sep, token_line, alone},
      // The reference uses the system text of VCGBench here too.
      {"eval_mvbench_llavanext", vcg, chatml_roles, chatml_sep, token_line, alone},
      {"eval_videoqa_llavanext", "<|im_start|>system\nAnswer the question.", chatml_roles,
       chatml_sep, token_line, interleaved},
      {"eval_recaption_llavanext", recaption, chatml_roles, chatml_sep, token_line, alone},
      // The demo sends the video and an empty question to "plain", which gives "<image> ".
      {"demo", std::string(kSystemDemo), plain_roles, vicuna_sep, token + " ", alone},
  };
  for (ConversationTemplate& t : templates) {
    if (!t.key.starts_with("eval_videoqa")) continue;
    t.pre_query = kPreQuery;
    t.post_query = kPostQuery;
    t.answer_prompt = kAnswerPrompt;
  }
  return templates;
}

/// A template in which the video precedes the question without a space.
inline ConversationTemplate joined_template(std::string key, std::array<std::string, 2> roles,
                                            std::array<std::string, 2> sep) {
  ConversationTemplate t;
  t.key = std::move(key);
  t.roles = std::move(roles);
  t.sep = std::move(sep);
  t.video_token = std::string(kVideoToken) + "\n";
  t.style = VideoStyle::joined;
  return t;
}

inline ConversationTemplate chatml_template(std::string key, std::string system) {
  ConversationTemplate t =
      joined_template(std::move(key), {"<|im_start|>user\n", "<|im_start|>assistant\n"},
                      {"<|im_end|>\n", "<|im_end|>\n"});
  t.system = std::move(system);
  t.system_prefix = "<|im_start|>system\n";
  return t;
}

inline ConversationTemplate llama3_template(std::string key, std::string system) {
  const std::string end = "<|eot_id|>";
  ConversationTemplate t = joined_template(std::move(key),
                                           {"<|start_header_id|>user<|end_header_id|>\n\n",
                                            "<|start_header_id|>assistant<|end_header_id|>\n\n"},
                                           {end, end});
  t.system = std::move(system);
  t.system_prefix = "<|start_header_id|>system<|end_header_id|>\n\n";
  return t;
}

/// The formats of the published chat templates.
PLLAVA_INLINE std::vector<ConversationTemplate> family_templates() {
  std::vector<ConversationTemplate> templates;
  templates.push_back(joined_template("llava", {"USER: ", "ASSISTANT:"}, {" ", " "}));

  ConversationTemplate mistral =
      joined_template("llava_mistral", {"[INST] ", ""}, {" [/INST]", "</s> "});
  mistral.system_prefix = "<<SYS>>\n";
  mistral.system_suffix = "\n<</SYS>>\n\n";
  templates.push_back(std::move(mistral));

  templates.push_back(llama3_template(
      "llava_llama3",
      "You are a helpful language and vision assistant. You are able to understand the visual "
      "content that the user provides, and assist the user with a variety of tasks using natural "
      "language."));

  ConversationTemplate yi = chatml_template("llava_34b", "Answer the questions.");
  yi.sep = {"<|im_end|>", "<|im_end|>"};
  templates.push_back(std::move(yi));

  templates.push_back(chatml_template("llava_video_34b", ""));
  templates.push_back(chatml_template("llava_qwen", "You are a helpful assistant."));

  ConversationTemplate onevision = chatml_template("llava_onevision", "");
  onevision.roles[0] = "<|im_start|>user ";
  onevision.system_prefix = "<|im_start|>system \n";
  onevision.sep = {"<|im_end|>", "<|im_end|>"};
  onevision.video_token = kVideoToken;
  onevision.question_prefix = "\n";
  templates.push_back(std::move(onevision));

  templates.push_back(chatml_template("qwen2", "You are a helpful assistant."));
  templates.push_back(chatml_template(
      "qwen2_5", "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."));
  templates.push_back(chatml_template(
      "smollm2", "You are a helpful AI assistant named SmolLM, trained by Hugging Face"));
  templates.push_back(llama3_template("llama3", ""));
  return templates;
}

PLLAVA_INLINE const std::vector<ConversationTemplate>& all_templates() {
  static const std::vector<ConversationTemplate> templates = [] {
    std::vector<ConversationTemplate> all = reference_templates();
    for (ConversationTemplate& t : family_templates()) all.push_back(std::move(t));
    return all;
  }();
  return templates;
}

}  // namespace pllava::detail
