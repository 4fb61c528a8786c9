// The verbs. Each documents its computation, checks shapes, and composes simpler verbs for backends
// that do not fuse it. Models compute with these verbs only. A View is an output, a ConstView an
// input.
#pragma once

#include <string>
#include <utility>

#include "pllava/core/backend.hpp"

namespace pllava::ops {

namespace detail {

[[noreturn]] inline void throw_shape(const char* op, const std::string& expected, ConstView got) {
  throw ShapeError(op, "expected " + expected + ", got " + got.shape.str());
}

/// Builds the message only for an error: verbs run thousands of times per second.
inline void require_rows(const char* op, ConstView v, Index n, Index d) {
  if (v.rows() != n || v.cols() != d) throw_shape(op, Shape{n, d}.str(), v);
}

}  // namespace detail

/// y = act(x · Wᵀ + b);  x (N, I), y (N, O).
template <Backend B>
void linear(B& be, View y, ConstView x, const Linear<typename B::Weight>& w,
            Activation act = Activation::none) {
  detail::require_rows("linear x", x, x.rows(), w.in);
  detail::require_rows("linear y", y, x.rows(), w.out);
  if (x.rows() > 0) be.linear(y, x, w, act);
}

/// y = x;  equal shape and type.
template <Backend B>
void copy(B& be, View y, ConstView x) {
  detail::require_rows("copy", y, x.rows(), x.cols());
  if (y.dtype != x.dtype)
    throw ShapeError("copy", "cannot copy " + std::string(name_of(x.dtype)) + " into " +
                                 std::string(name_of(y.dtype)));
  be.copy(y, x);
}

/// y = norm(x) of each row;  x (N, D) f32, y (N, D). y may be x.
template <Backend B>
void norm(B& be, View y, ConstView x, const Norm<typename B::Weight>& n) {
  detail::require_rows("norm", y, x.rows(), x.cols());
  if (x.rows() > 0) be.norm(y, x, n);
}

/// x += y · Wᵀ + b, then h = next(x) if `next` is given;  x (N, D) f32, h (N, D), y (N, I).
template <Backend B>
void residual(B& be, View x, View h, ConstView y, const Linear<typename B::Weight>& w,
              const Norm<typename B::Weight>* next) {
  detail::require_rows("residual y", y, x.rows(), w.in);
  detail::require_rows("residual x", x, x.rows(), w.out);
  if (next != nullptr) detail::require_rows("residual h", h, x.rows(), x.cols());
  if (x.rows() == 0) return;
  if constexpr (requires { be.residual_norm(x, h, y, w, *next); }) {
    if (next != nullptr) return be.residual_norm(x, h, y, w, *next);
  }
  if constexpr (requires { be.residual(x, y, w); }) {
    be.residual(x, y, w);
  } else {
    auto scope = be.scope();
    View branch = be.scratch(x.shape, DType::f32);
    be.linear(branch, y, w, Activation::none);
    be.add(x, branch);
  }
  if (next != nullptr) norm(be, h, x, *next);
}

/// g = act(h · Wgᵀ) · (h · Wuᵀ), element-wise;  h (N, D), g (N, F). The weight is prepared with
/// WeightRole::gate_up.
template <Backend B>
void glu(B& be, View g, ConstView h, const Linear<typename B::Weight>& gate_up, Activation act) {
  detail::require_rows("glu h", h, g.rows(), gate_up.in);
  detail::require_rows("glu g", g, g.rows(), gate_up.out);
  if (g.rows() == 0) return;
  if constexpr (requires { be.glu(g, h, gate_up, act); }) {
    be.glu(g, h, gate_up, act);
  } else {
    auto scope = be.scope();
    View both = be.scratch({g.rows(), 2 * g.cols()}, DType::f32);
    Linear<typename B::Weight> stacked = gate_up;  // the rows of gate, then of up
    stacked.out = 2 * gate_up.out;
    be.linear(both, h, stacked, Activation::none);
    be.act_mul(g, both, act);
  }
}

/// o = softmax(q·kᵀ/√head_dim + mask)·v per head;  qkv (N, (Hq+2·Hkv)·dh).
/// With `rope`, queries and keys are rotated by their positions; with `kv`, keys and values are
/// appended to the cache first. o (M, Hq·dh), M ≤ N, are the outputs of the last M rows; M = 0 only
/// appends.
template <Backend B>
void attend(B& be, View o, ConstView qkv, const AttentionOf<B>& attention) {
  const Heads& heads = attention.heads;
  const Index batch = attention.sequence.batch;
  detail::require_rows("attend qkv", qkv, qkv.rows(), heads.qkv_width());
  if (o.rows() > qkv.rows() || o.cols() != heads.num_query_heads * heads.head_dim)
    detail::throw_shape(
        "attend o", "at most " + Shape{qkv.rows(), heads.num_query_heads * heads.head_dim}.str(),
        o);
  if (batch < 1 || qkv.rows() % batch != 0)
    detail::throw_shape("attend qkv", "a multiple of " + std::to_string(batch) + " rows", qkv);
  be.attend(o, qkv, attention);
}

/// x[n] = table[ids[n]];  ids (N) i32 in backend memory, x (N, D) f32.
template <Backend B>
void embed(B& be, View x, ConstView ids, const typename B::Weight& table) {
  detail::require_rows("embed", x, ids.shape.count(), x.cols());
  be.embed(x, ids, table);
}

/// Patches as rows;  pixels (T, 3, S, S) f32, y (T·P, 3·patch·patch), P = floor(S/patch)². Pixels
/// after the last whole patch of a row or column are left out.
template <Backend B>
void patchify(B& be, View y, ConstView pixels, Index patch) {
  const Index side = pixels.shape[2] / patch;
  detail::require_rows("patchify", y, pixels.shape[0] * side * side, 3 * patch * patch);
  be.patchify(y, pixels, patch);
}

/// x[t, 0] = cls + pos[0], x[t, 1+p] = patches[t, p] + pos[1+p];  patches (T·P, D), x (T·(P+1), D).
/// Without a class token (`cls` is empty), x[t, p] = patches[t, p] + pos[p];  x (T·P, D).
template <Backend B>
void add_positions(B& be, View x, ConstView patches, const typename B::Weight& cls,
                   const typename B::Weight& positions, Index patches_per_frame) {
  detail::require_rows("add_positions", x,
                       patches.rows() / patches_per_frame * (patches_per_frame + (cls ? 1 : 0)),
                       patches.cols());
  be.add_positions(x, patches, cls, positions, patches_per_frame);
}

/// y[t, p] = x[t, c+p]: drops the class token where a frame has c = 1 row more than its patches;
/// x (T·(P+c), D) f32, y (T·P, D).
template <Backend B>
void select_patches(B& be, View y, ConstView x, Index patches_per_frame) {
  if (x.rows() == 0 && y.rows() == 0) return;
  const Index frames = y.rows() / patches_per_frame;
  detail::require_rows("select_patches y", y, frames * patches_per_frame, x.cols());
  if (x.rows() != y.rows())
    detail::require_rows("select_patches x", x, y.rows() + frames, x.cols());
  be.select_patches(y, x, patches_per_frame);
}

/// Adaptive pooling; window i of an axis covers floor(i·in/out) to ceil((i+1)·in/out). `bilinear`
/// averages the windows of t, and resizes frames with bilinear_taps.
/// x (T·H·W, D), y (t·h·w, D).
template <Backend B>
void pool3d(B& be, View y, ConstView x, const Grid& in, const Grid& out, PoolKind kind) {
  detail::require_rows("pool3d x", x, in.count(), x.cols());
  detail::require_rows("pool3d y", y, out.count(), x.cols());
  be.pool3d(y, x, in, out, kind);
}

/// Runs a decode step. A backend may record `body` once (as a CUDA graph) and replay it while the
/// bucket of `sequence.bound` is the same. So the body must not allocate, read backend memory on
/// the host, or branch on its contents. It may use scratch memory: equal calls get equal addresses.
template <Backend B, class Body>
void step(B& be, const Sequence& sequence, Body&& body) {
  if constexpr (requires { be.step(sequence, body); })
    be.step(sequence, std::forward<Body>(body));
  else
    std::forward<Body>(body)();
}

}  // namespace pllava::ops
