// A projector with the row that ends a video: LLaVA-OneVision's image_newline.
#pragma once

#include <cstdint>

#include "pllava/models/projector.hpp"

namespace pllava {

/// The tensor of the newline, relative to the root scope.
inline TensorSpec newline_tensor(const ProjectorConfig& config) {
  return {.name = "image_newline", .shape = {config.output}, .initializer = Initializer::embedding};
}

/// `end_rows` and `write_end_rows` are optional members of a projector: the rows that follow the
/// last frame of a video in the prompt. They are appended with the video, whatever frames it has.
template <Backend B>
class NewlineProjector : public Projector<B> {
 public:
  /// Loads scopes "multi_modal_projector" and "image_newline" of the root scope. Throws LoadError,
  /// OutOfMemoryError.
  NewlineProjector(B& be, const ProjectorConfig& config, const WeightScope& root)
      : Projector<B>(be, config, root["multi_modal_projector"]) {
    HostTensor row = root.tensor(newline_tensor(config));
    row.shape = Shape{1, config.output};
    newline_ = be.prepare({&row, 1}, WeightRole::table);
  }

  Index end_rows() const noexcept { return 1; }
  /// rows (1, D) f32 = image_newline.
  void write_end_rows(B& be, View rows) const {
    const std::int32_t first = 0;
    Tensor<B> ids(be, {1}, DType::i32);
    be.upload(ids, &first);
    ops::embed(be, rows, ids, newline_);
  }

 private:
  typename B::Weight newline_;  // (1, D) table
};

}  // namespace pllava
