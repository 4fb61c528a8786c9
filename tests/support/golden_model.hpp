// Golden checkpoints that transformers' model and processor saved, behind the interface of
// sessions.
#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <utility>
#include <vector>

#include "pllava/pllava.hpp"
#include "support/catch.hpp"
#include "support/goldens.hpp"

namespace test {

/// The frames of a golden, before preprocessing.
inline pllava::Clip golden_clip(const pllava::SafetensorsFile& golden) {
  using pllava::Index;
  const pllava::HostTensor t = golden.tensor("frames");
  const Index H = t.shape[1], W = t.shape[2];
  const auto* first = reinterpret_cast<const std::uint8_t*>(t.data);
  pllava::Clip clip;
  for (Index i = 0; i < t.shape[0]; ++i)
    clip.frames.push_back(pllava::Frame::copy(first + i * H * W * 3, W, H));
  return clip;
}

/// The model of a checkpoint directory on a backend.
template <pllava::Backend B>
std::shared_ptr<const pllava::Model> load_model(B be, const std::filesystem::path& directory,
                                                const pllava::LoadOptions& options) {
  using pllava::Model;
  const auto checkpoint = pllava::Checkpoint::open(directory, options);
  const pllava::ModelConfig& config = checkpoint.config();
  return pllava::BuiltinArchitectures::build(
      be, config, checkpoint[""], [&](auto parts) -> std::shared_ptr<const Model> {
        return std::make_shared<const pllava::BackendModel<B, decltype(parts)>>(
            std::move(be), config, std::move(parts));
      });
}

/// The logits after a golden's prompt with this video in the place of the image token.
inline std::vector<float> prompt_logits(const pllava::Model& model,
                                        const pllava::SafetensorsFile& golden,
                                        const pllava::EncodedVideo& video) {
  const auto context = model.make_context(0);
  const std::vector<std::int32_t> prompt = golden_ids(golden, "prompt_ids");
  const auto image = static_cast<std::int32_t>(model.config().image_token);
  const auto place = std::find(prompt.begin(), prompt.end(), image);
  context->append_tokens({prompt.begin(), place}, {});
  context->append_video(video, {});
  context->append_tokens({place + 1, prompt.end()}, {});
  CHECK(context->length() == static_cast<pllava::Index>(prompt.size()) - 1 + video.tokens());
  return context->logits();
}

}  // namespace test
