// Verbs that launch a single kernel: norms, inputs of the models, pooling.
#include "operands.hpp"
#include "step.hpp"

namespace pllava::cuda {

namespace {

kernels::PoolKind pool_kind(PoolKind kind) {
  switch (kind) {
    case PoolKind::average: return kernels::PoolKind::average;
    case PoolKind::maximum: return kernels::PoolKind::maximum;
    case PoolKind::bilinear: return kernels::PoolKind::bilinear;
  }
  return kernels::PoolKind::average;
}

}  // namespace

void Backend::norm(View y, ConstView x, const Norm& n) {
  add_to_step_key("norm", y, x, n.gain, n.bias, n.eps);
  enqueue("norm", [&] {
    return kernels::norm(operand(y), floats(x), x.rows(), static_cast<int>(x.cols()),
                         norm_parameters(n), device_->stream());
  });
}

void Backend::embed(View x, ConstView ids, const Weight& table) {
  add_to_step_key("embed", x, ids, table);
  enqueue("embed", [&] {
    return kernels::embed(floats(x), ids.as<std::int32_t>(), operand(table), x.rows(),
                          static_cast<int>(x.cols()), device_->stream());
  });
}

void Backend::patchify(View y, ConstView pixels, Index patch) {
  add_to_step_key("patchify", y, pixels, patch);
  enqueue("patchify", [&] {
    return kernels::patchify(operand(y), floats(pixels), static_cast<int>(pixels.shape[0]),
                             static_cast<int>(pixels.shape[2]), static_cast<int>(patch),
                             device_->stream());
  });
}

void Backend::add_positions(View x, ConstView patches, const Weight& cls, const Weight& positions,
                            Index per_frame) {
  add_to_step_key("add_positions", x, patches, cls, positions, per_frame);
  enqueue("add_positions", [&] {
    return kernels::add_positions(floats(x), operand(patches), cls ? floats(cls) : nullptr,
                                  floats(positions), static_cast<int>(patches.rows() / per_frame),
                                  static_cast<int>(per_frame), static_cast<int>(x.cols()),
                                  device_->stream());
  });
}

void Backend::select_patches(View y, ConstView x, Index per_frame) {
  add_to_step_key("select_patches", y, x, per_frame);
  enqueue("select_patches", [&] {
    const Index frames = y.rows() / per_frame, first = x.rows() / frames - per_frame;
    return kernels::select_patches(operand(y), floats(x), static_cast<int>(frames),
                                   static_cast<int>(first), static_cast<int>(per_frame),
                                   static_cast<int>(y.cols()), device_->stream());
  });
}

void Backend::pool3d(View y, ConstView x, const Grid& in, const Grid& out, PoolKind kind) {
  add_to_step_key("pool3d", y, x, in.t, in.h, in.w, out.t, out.h, out.w, kind);
  const auto size = [](Index i) { return static_cast<int>(i); };
  const kernels::Pool pool{{size(in.t), size(in.h), size(in.w)},
                           {size(out.t), size(out.h), size(out.w)},
                           size(x.cols()),
                           pool_kind(kind)};
  enqueue("pool3d",
          [&] { return kernels::pool3d(operand(y), operand(x), pool, device_->stream()); });
}

}  // namespace pllava::cuda
