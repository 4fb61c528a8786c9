// Conversation templates, task prompts and answer extraction against the strings of the reference.
#include "pllava/text/prompt.hpp"

#include "support/catch.hpp"

namespace {

using Catch::Matchers::Contains;
using Catch::Matchers::StartsWith;
using pllava::ChatFormat;
using pllava::Conversation;
using pllava::conversation_template;
using pllava::Dialogue;
using pllava::extract_answer;
using pllava::PromptError;
using pllava::task_prompt;

const std::string kMvbenchSystem =
    "Carefully watch the video and pay attention to the cause and sequence of events, the detail "
    "and movement of objects, and the action and pose of persons. Based on your observations, "
    "select the best option that accurately addresses the question.\n";
const std::string kVcgSystem =
    "You are Video-ChatGPT, a large vision-language assistant. You are able to understand the "
    "video content that the user provides, and assist the user with a variety of tasks using "
    "natural language.Follow the instructions carefully and explain your answers in detail based "
    "on the provided video.";
const std::string kPre =
    "The input consists of a sequence of key frames from a video. Answer the question concisely "
    "first and followed by significant events, characters, or objects that appear throughout the "
    "frames. Question:";

/// The prompt of one question.
std::string prompt_of(const std::string& key, const pllava::TaskPrompt& task,
                      const std::string& question) {
  Dialogue dialogue(conversation_template(key), task);
  const std::string text = dialogue.prefix() + dialogue.ask(question).text;
  CHECK(text == dialogue.prompt());
  return text;
}

std::size_t hash_of(const std::string& text) {  // FNV-1a, 64 bits
  std::uint64_t h = 0xcbf29ce484222325u;
  for (const char c : text) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return h;
}

}  // namespace

TEST_CASE("each task gives the reference's prompt for 7B and 13B", "[prompt]") {
  const std::string q = "Question: Why?\nOptions:\n(A) x\n(B) y";
  CHECK(prompt_of("eval_mvbench", task_prompt("mvbench"), q) ==
        kMvbenchSystem + " USER: <image>\n USER: " + q +
            " \nOnly give the best option. ASSISTANT:Best option:(");
  CHECK(prompt_of("eval_vcgbench", task_prompt("vcgbench"), q) ==
        kVcgSystem + " USER: <image>\n USER: " + q + " ASSISTANT:");
  CHECK(prompt_of("eval_videoqabench", task_prompt("videoqa"), q) ==
        "USER: <image>\n " + kPre + " " + q + " \n ASSISTANT:\nAnswer: In the video,");
  const pllava::TaskPrompt& recaption = task_prompt("recaption");
  const std::string recaptioned = prompt_of("eval_recaption", recaption, recaption.query);
  CHECK_THAT(recaptioned, StartsWith("You are a powerful Video Magic ChatBot, a large "
                                     "vision-language assistant. \nYou are able"));
  CHECK(recaptioned == conversation_template("eval_recaption").system +
                           " USER: <image>\n USER: " + recaption.query + " ASSISTANT:");
  // Without the VideoQA task, pre_query, post_query and answer_prompt of its template are unused.
  CHECK(prompt_of("eval_videoqabench", recaption, recaption.query) ==
        "USER: <image>\n " + recaption.query + " ASSISTANT:");
  CHECK(prompt_of("plain", task_prompt("describe"), task_prompt("describe").query) ==
        "USER:<image> Describe the video in details. ASSISTANT:");
}

TEST_CASE("each task gives the reference's prompt for 34B", "[prompt]") {
  CHECK(prompt_of("eval_mvbench_llavanext", task_prompt("mvbench"), "Q") ==
        kVcgSystem +
            "<|im_end|>\n<|im_start|>user\n<image>\n<|im_end|>\n<|im_start|>user\nQ \nOnly give "
            "the best option.<|im_end|>\n<|im_start|>assistant\nBest option:(");
  CHECK(prompt_of("eval_vcg_llavanext", task_prompt("vcgbench"), "Q") ==
        kVcgSystem +
            "<|im_end|>\n<|im_start|>user\n<image>\n<|im_end|>\n<|im_start|>user\nQ<|im_end|>\n"
            "<|im_start|>assistant\n");
  CHECK(prompt_of("eval_videoqa_llavanext", task_prompt("videoqa"), "Q") ==
        "<|im_start|>system\nAnswer the question.<|im_end|>\n<|im_start|>user\n<image>\n " + kPre +
            " Q \n<|im_end|>\n<|im_start|>assistant\n\nAnswer: In the video,");
  for (const char* task : {"mvbench", "vcgbench", "videoqa", "recaption", "describe"}) {
    const auto roles = [&](ChatFormat format) {
      return conversation_template(template_key(task_prompt(task), format)).roles;
    };
    CHECK_THAT(roles(ChatFormat::vicuna)[0], StartsWith("USER:"));
    CHECK_THAT(roles(ChatFormat::chatml)[0], StartsWith("<|im_start|>user"));
  }
}

TEST_CASE("template_key selects the task's template by chat format", "[prompt]") {
  const auto keys = [](const pllava::TaskPrompt& task) {
    return std::pair(template_key(task, ChatFormat::vicuna),
                     template_key(task, ChatFormat::chatml));
  };
  using Keys = std::pair<std::string, std::string>;
  CHECK(keys(task_prompt("mvbench")) == Keys{"eval_mvbench", "eval_mvbench_llavanext"});
  CHECK(keys(task_prompt("vcgbench")) == Keys{"eval_vcgbench", "eval_vcg_llavanext"});
  CHECK(keys(task_prompt("videoqa")) == Keys{"eval_videoqabench", "eval_videoqa_llavanext"});
  CHECK(keys(task_prompt("recaption")) == Keys{"eval_recaption", "eval_recaption_llavanext"});
  CHECK(keys(task_prompt("describe")) == Keys{"plain", "eval_vcg_llavanext"});
  CHECK(keys({}) == Keys{"plain", "plain"});
}

TEST_CASE("chat_format is chatml only if <|im_end|> ends a sequence", "[prompt]") {
  using Ids = std::vector<pllava::Index>;
  pllava::TokenizerParts parts;
  parts.vocab = {"<unk>", "<s>", "</s>"};
  parts.unk_token = "<unk>";
  const pllava::Tokenizer vicuna{parts};
  CHECK(chat_format(vicuna, Ids{2}) == ChatFormat::vicuna);
  CHECK(chat_format(vicuna, Ids{7}) == ChatFormat::vicuna);
  parts.added_tokens = {{7, "<|im_end|>", true}};
  const pllava::Tokenizer chatml{parts};
  CHECK(chat_format(chatml, Ids{7}) == ChatFormat::chatml);
  CHECK(chat_format(chatml, Ids{2, 7}) == ChatFormat::chatml);
  CHECK(chat_format(chatml, Ids{2}) == ChatFormat::vicuna);
  CHECK(chat_format(chatml, Ids{}) == ChatFormat::vicuna);
}

TEST_CASE("Doubtful end tokens are named", "[prompt]") {
  using Ids = std::vector<pllava::Index>;
  using Texts = std::vector<std::string>;
  pllava::TokenizerParts parts;
  parts.vocab = {"<unk>", "<s>", "</s>", "a"};
  parts.unk_token = "<unk>";
  parts.added_tokens = {{2, "</s>", true}};
  const pllava::Tokenizer vicuna{parts};
  CHECK(end_token_warnings(vicuna, Ids{2}).empty());
  const std::string no_end = "the token \"</s>\" (2) is not an eos_token_id; answers may not end";
  CHECK(end_token_warnings(vicuna, Ids{3}) ==
        Texts{"eos_token_id 3 is \"a\", which is not a special token", no_end});
  CHECK(end_token_warnings(vicuna, Ids{2, 9}) ==
        Texts{"eos_token_id 9 is not a token of the tokenizer"});
  CHECK(end_token_warnings(vicuna, Ids{}) == Texts{no_end});
  parts.added_tokens.push_back({7, "<|im_end|>", false});
  CHECK(end_token_warnings(pllava::Tokenizer{parts}, Ids{7}).empty());
}

TEST_CASE("long strings equal the reference's byte for byte", "[prompt]") {
  // Length and hash detect any change, including white space.
  const auto check = [](const std::string& text, std::size_t size, std::uint64_t hash) {
    INFO(text);
    CHECK(text.size() == size);
    CHECK(hash_of(text) == hash);
  };
  check(conversation_template("eval_recaption").system, 465, 0x46f0473232d36f97u);
  check(conversation_template("eval_recaption_llavanext").system, 465, 0x46f0473232d36f97u);
  check(conversation_template("demo").system, 483, 0x3c709c7a9e26ebc2u);
  check(task_prompt("recaption").query, 692, 0x63c41cd1008ad77cu);
  check(*conversation_template("eval_videoqabench").pre_query, 200, 0xab936f8de3780a50u);
  check(conversation_template("eval_mvbench_llavanext").system, 291, 0xca33f38d12148c9eu);
  check(conversation_template("eval_mvbench").system, 244, 0x21ade0a825fb832eu);
}

TEST_CASE("the demo template puts two spaces after the video and a separator after answers",
          "[prompt]") {
  Dialogue demo(conversation_template("demo"));
  const std::string system = conversation_template("demo").system;
  CHECK(demo.prefix() == system + " USER:<image>");
  CHECK(demo.ask("What is the man doing?").text == "  USER:What is the man doing? ASSISTANT:");
  demo.answered(" He cooks.");
  CHECK(demo.ask("Why?").text == "</s>USER:Why? ASSISTANT:");
  CHECK(demo.prompt() ==
        system +
            " USER:<image>  USER:What is the man doing? ASSISTANT: He cooks.</s>USER:Why? "
            "ASSISTANT:");

  // The same prompt from the reference's steps on the template "plain".
  Conversation plain([&] {
    pllava::ConversationTemplate t = conversation_template("plain");
    t.system = system;
    return t;
  }());
  plain.user_query({.text = "", .videos = 1});
  plain.user_query({.text = "What is the man doing?"});
  plain.assistant_response(" He cooks.");
  plain.user_query({.text = "Why?"});
  CHECK(plain.prompt() == demo.prompt());
}

TEST_CASE("the increments of a dialogue concatenate to the conversation's prompt", "[prompt]") {
  const std::string key = GENERATE(from_range(pllava::conversation_keys()));
  const std::string task_name = GENERATE("", "mvbench", "videoqa");
  const pllava::TaskPrompt task = task_name.empty() ? pllava::TaskPrompt{} : task_prompt(task_name);
  INFO(key << " " << task_name);
  Dialogue dialogue(conversation_template(key), task);
  Conversation conversation(conversation_template(key));
  std::string read = dialogue.prefix();
  for (const std::string question : {"What happened?", "", "Who did it?"}) {
    read += dialogue.ask(question).text;
    conversation.user_query(
        {question, task.pre_query, task.post_query, conversation.messages().empty()});
    if (task.answer_prompt) conversation.assistant_response(*task.answer_prompt);
    CHECK(read == conversation.prompt());
    CHECK(read == dialogue.prompt());
    if (question.empty()) {  // no answer equals an empty answer
      conversation.extend_answer("");
      continue;
    }
    const std::string answer = " Nothing of note.";
    dialogue.answered(answer);
    read += answer;
    conversation.extend_answer(answer);
    CHECK(read == dialogue.prompt());
  }
  const pllava::PromptParts parts = pllava::split_at_video(read);
  CHECK(parts.before_video == dialogue.prefix());
  CHECK(parts.before_video + parts.after_video == read);
}

TEST_CASE("questions and answers of a dialogue are plain, the template is not", "[prompt]") {
  const std::string key = GENERATE(from_range(pllava::conversation_keys()));
  const std::string task_name = GENERATE("", "mvbench", "videoqa");
  INFO(key << " " << task_name);
  Dialogue dialogue(conversation_template(key),
                    task_name.empty() ? pllava::TaskPrompt{} : task_prompt(task_name));
  const auto plain_of = [](const pllava::PromptText& part) {
    std::vector<std::string> texts;
    for (const auto& [begin, end] : part.plain)
      texts.push_back(part.text.substr(begin, end - begin));
    return texts;
  };
  using Texts = std::vector<std::string>;
  const std::string question = "Is <image>\n </s> a token?";
  CHECK(plain_of(dialogue.ask(question)) == Texts{question});
  dialogue.answered(" Yes");
  dialogue.answered(", it is.");
  CHECK(plain_of(dialogue.ask("")).empty());
  dialogue.answered("");
  CHECK(plain_of(dialogue.ask("</s>", true)).empty());
  CHECK(plain_of(dialogue.ask("Why?")) == Texts{"Why?"});
  CHECK(plain_of(dialogue.after_prefix()) == Texts{question, " Yes", ", it is.", "Why?"});
  CHECK(dialogue.prefix() + dialogue.after_prefix().text == dialogue.prompt());
  CHECK(plain_of(dialogue.without_first_turns(1).after_prefix()) == Texts{"Why?"});
}

TEST_CASE("a copy of a dialogue is independent", "[prompt]") {
  Dialogue dialogue(conversation_template("plain"));
  const Dialogue start = dialogue;
  const std::string first = dialogue.ask("A?").text;
  Dialogue again = start;
  CHECK(again.ask("A?").text == first);
  CHECK(start.prompt() == start.prefix());
}

TEST_CASE("the template's style determines the position of the video token", "[prompt]") {
  Conversation plain(conversation_template("plain"));
  CHECK_THROWS_AS(plain.prompt(), PromptError);
  plain.user_query({.text = "Look: <image> here", .videos = 1});
  CHECK(plain.prompt() == "USER:Look: <image> here ASSISTANT:");

  Conversation two(conversation_template("eval_vcgbench"));
  two.user_query({.text = "Q", .videos = 2});
  REQUIRE(two.messages().size() == 2);
  CHECK(two.messages()[0].second == "<image><image>\n");

  Conversation broken(conversation_template("plain"));  // a defect of the reference, kept
  broken.user_query({.text = "Q", .videos = 2});
  CHECK(broken.prompt() == "USER:<image<image> Q ASSISTANT:");
  CHECK_THROWS_AS(plain.user_query({.text = "Q", .videos = -1}), pllava::ArgumentError);
}

TEST_CASE("a prompt must contain exactly one video token", "[prompt]") {
  CHECK_THROWS_AS(pllava::split_at_video("no video"), PromptError);
  CHECK_THROWS_WITH(pllava::split_at_video("no video"), Contains("0 times"));
  CHECK_THROWS_WITH(pllava::split_at_video("<image><image>"), Contains("2 times"));
  const pllava::PromptParts parts = pllava::split_at_video("a <image>\nb");
  CHECK(parts.before_video == "a <image>");
  CHECK(parts.after_video == "\nb");

  Dialogue dialogue(conversation_template("plain"));
  CHECK_THROWS_WITH(dialogue.ask("an <image>?", true), Contains("<image>"));
  CHECK(dialogue.ask("Q").text == " Q ASSISTANT:");  // the failed call had no effect

  pllava::ConversationTemplate none = conversation_template("plain");
  none.video_token = "<video>";
  CHECK_THROWS_AS(Dialogue(none), PromptError);
  none.video_token = "";
  CHECK_THROWS_AS(Dialogue(none), PromptError);
}

TEST_CASE("an unknown template or task throws an error that lists the known ones", "[prompt]") {
  CHECK_THROWS_AS(conversation_template("eval_vcg_llava_next"), PromptError);
  CHECK_THROWS_WITH(
      conversation_template("eval_vcg_llava_next"),
      Contains("eval_vcg_llava_next") && Contains("eval_vcg_llavanext") && Contains("plain"));
  CHECK_THROWS_WITH(task_prompt("mvp"), Contains("mvp") && Contains("mvbench"));
  CHECK(pllava::conversation_keys().size() == 21);
}

TEST_CASE("extract_answer returns the text after the last assistant role", "[prompt]") {
  const auto& vicuna = conversation_template("eval_vcgbench");
  CHECK(extract_answer(vicuna, "USER:  \n USER: Q? ASSISTANT: \n He cooks.  ") == "He cooks.");
  CHECK(extract_answer(vicuna, "Q ASSISTANT: no ASSISTANT: yes") == "yes");
  CHECK(extract_answer(vicuna, "Q ASSISTANT: x</s>") == "x");
  CHECK(extract_answer(vicuna, "Q ASSISTANT:\u00a0\u3000\x1f\u00e9 \u2003") == "\u00e9");
  CHECK(extract_answer(vicuna, "Q ASSISTANT:") == "");
  const auto& yi = conversation_template("eval_vcg_llavanext");
  CHECK(extract_answer(yi, "a<|im_start|> user\nQ \n<|im_start|> assistant\nHe cooks.") ==
        "He cooks.");
  CHECK(extract_answer(yi, "Q<|im_start|> assistant\nx<|im_end|>\n") == "x");
}

TEST_CASE("extract_answer keeps the part of the answer that the task scores", "[prompt]") {
  CHECK(extract_answer(task_prompt("mvbench"), "Best option:(B) Sat.") == "(B) Sat.");
  CHECK(extract_answer(task_prompt("mvbench"), "Best option:(B) or Best option:(C)") ==
        "(B) or C)");
  CHECK(extract_answer(task_prompt("mvbench"), "B") == "(");  // as in the reference
  CHECK(extract_answer(task_prompt("videoqa"), "Answer: In the video, he is cooking. ") ==
        "he is cooking.");
  CHECK(extract_answer(task_prompt("vcgbench"), "He cooks.") == "He cooks.");
}
