// Attention over a KV cache or over the rows of the call.
#include <algorithm>
#include <cstdint>

#include "operands.hpp"
#include "step.hpp"

namespace pllava::cuda {

namespace {

/// Upper bounds of the KV length are multiples of this, so that one recorded decode step serves all
/// lengths up to the bound.
constexpr Index kKvLengthBucket = 256;

kernels::Attention attention_parameters(const View& o, const ConstView& qkv,
                                        const Backend::Attention& attention, Index kv_bound) {
  const auto& [heads, rope, kv, seq, mask] = attention;
  kernels::Attention call;
  call.o = operand(o), call.qkv = operand(qkv);
  call.rope = rope != nullptr ? floats(rope->table) + seq.rope_offset * heads.head_dim : nullptr;
  call.batch = static_cast<int>(seq.batch);
  call.rows = static_cast<int>(qkv.rows() / seq.batch);
  call.output_rows = static_cast<int>(o.rows() / seq.batch);
  call.num_query_heads = static_cast<int>(heads.num_query_heads);
  call.num_kv_heads = static_cast<int>(heads.num_kv_heads);
  call.head_dim = static_cast<int>(heads.head_dim);
  call.causal = mask == Mask::causal;
  call.max_kv_length = call.rows;
  if (kv == nullptr) return call;
  call.keys = kv->keys.get(), call.values = kv->values.get();
  call.capacity = kv->capacity;
  call.past = seq.past.as<std::int32_t>();
  call.kv_scales = static_cast<float*>(kv->scales.get());
  call.max_kv_length = std::min(kv_bound, kv->capacity);
  return call;
}

}  // namespace

void Backend::attend(View o, ConstView qkv, const Attention& attention) {
  const auto& [heads, rope, kv, seq, mask] = attention;
  const Index kv_bound = (seq.bound + kKvLengthBucket - 1) / kKvLengthBucket * kKvLengthBucket;
  add_to_step_key("attend", o, qkv, kv != nullptr ? kv->keys.get() : nullptr,
                  kv != nullptr ? kv->values.get() : nullptr,
                  kv != nullptr ? kv->scales.get() : nullptr, kv != nullptr ? kv->capacity : 0,
                  seq.past, kv_bound, seq.batch, seq.rope_offset, mask,
                  rope != nullptr ? rope->table.data.get() : nullptr, heads.num_query_heads,
                  heads.num_kv_heads, heads.head_dim);
  auto scope = this->scope();
  const kernels::Attention call = attention_parameters(o, qkv, attention, kv_bound);
  if (kv != nullptr)
    enqueue("append_kv", [&] { return kernels::append_kv(call, device_->stream()); });
  if (call.output_rows == 0) return;
  if (kv != nullptr && call.rows <= kernels::kMaxDecodeRows && !options_.deterministic) {
    const View workspace = scratch({kernels::decode_workspace_bytes(call)}, DType::u8);
    enqueue("decode_attention",
            [&] { return kernels::decode_attention(call, workspace.data, device_->stream()); });
  } else {
    enqueue("prefill_attention",
            [&] { return kernels::prefill_attention(call, device_->stream()); });
  }
}

void Backend::move_kv(KvLayer& kv, const Heads& heads, Index to, Index from, Index rows) {
  kernels::KvMove move;
  move.keys = kv.keys.get(), move.values = kv.values.get();
  move.scales = static_cast<float*>(kv.scales.get());
  move.capacity = kv.capacity;
  move.row_bytes = heads.head_dim * (move.scales != nullptr ? 1 : size_of(options_.dtype));
  move.to = to, move.from = from, move.rows = rows;
  move.num_kv_heads = static_cast<int>(heads.num_kv_heads);
  enqueue("move_kv", [&] { return kernels::move_kv(move, device_->stream()); });
}

}  // namespace pllava::cuda
