// Keys and values of one sequence, layer by layer, of fixed capacity. The layout belongs to the
// backend.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "pllava/core/backend.hpp"

namespace pllava {

/// To append rows: take their positions with `next_positions`, let the layers write them, then
/// `commit`. Until the commit the cache is unchanged, so a failed call needs no clean-up.
/// Threads: belongs to one thread at a time.
template <Backend B>
class KvCache {
 public:
  /// Room for `capacity` rows in each of `layers` layers. Throws OutOfMemoryError.
  KvCache(B& be, Index layers, const Heads& heads, Index capacity)
      : heads_(heads), capacity_(capacity), past_(be, {1}, DType::i32) {
    for (Index l = 0; l < layers; ++l) layers_.push_back(be.make_kv(heads, capacity));
    set_length(be, 0);
  }

  Index capacity() const noexcept { return capacity_; }
  /// Rows committed so far.
  Index length() const noexcept { return length_; }
  typename B::KvLayer& layer(Index l) { return layers_[static_cast<std::size_t>(l)]; }

  /// Throws ContextError if `rows` more do not fit.
  void require_room(Index rows) const {
    if (length_ + rows > capacity_) throw ContextError("the sequence", length_ + rows, capacity_);
  }
  /// The positions of the next `rows` rows. Throws ContextError if they do not fit.
  Sequence next_positions(Index rows) const {
    require_room(rows);
    return {past_, length_ + rows, 1, rope_offset_};
  }
  /// RoPE position of the next row minus its number: the rows that `remove` removed and the
  /// positions that `skip_positions` left out since the cache was empty.
  Index rope_offset() const noexcept { return rope_offset_; }
  /// The RoPE positions of later rows are `count` higher: places of rows that were left out. Undone
  /// by a truncate to less than the present length.
  void skip_positions(Index count) {
    rope_offset_ += count;
    skips_.push_back({length_, count});
  }
  /// Whether positions are skipped. Rows cannot be removed then.
  bool skips_positions() const noexcept { return !skips_.empty(); }
  /// Counts `rows` more rows, which every layer has written. Throws ContextError.
  void commit(B& be, Index rows) {
    require_room(rows);
    set_length(be, length_ + rows);
  }
  /// Drops everything after the first `length` rows, in O(1). Throws ArgumentError for a length
  /// below 0 or above length().
  void truncate(B& be, Index length) {
    if (length < 0 || length > length_)
      throw ArgumentError("cannot truncate a KV cache of " + std::to_string(length_) + " rows to " +
                          std::to_string(length));
    set_length(be, length);
    for (; !skips_.empty() && length < skips_.back().length; skips_.pop_back())
      rope_offset_ -= skips_.back().count;
    if (length == 0) rope_offset_ = 0;
  }
  /// Removes rows [first, first + count); the rows after them move down and keep their RoPE
  /// positions. The first `first` rows are now at other positions than their keys were made for:
  /// the caller appends their keys again (LanguageModel::remove_rows). Throws ArgumentError for
  /// rows that the cache does not hold.
  void remove(B& be, Index first, Index count) requires HasMoveKv<B> {
    if (first < 0 || count < 0 || first + count > length_)
      throw ArgumentError("cannot remove rows " + std::to_string(first) + " to " +
                          std::to_string(first + count) + " of a KV cache of " +
                          std::to_string(length_) + " rows");
    const Index from = first + count, rows = length_ - from;
    if (count > 0 && rows > 0)
      for (typename B::KvLayer& layer : layers_) be.move_kv(layer, heads_, first, from, rows);
    set_length(be, length_ - count);
    rope_offset_ += count;
  }
  /// Calls append(positions of the first `rows` rows), which writes them again in every layer.
  template <class Append>
  void rewrite_first(B& be, Index rows, const Append& append) {
    const Index length = length_;
    set_length(be, 0);
    try {
      append(next_positions(rows));
    } catch (...) {
      set_length(be, length);
      throw;
    }
    set_length(be, length);
  }

 private:
  void set_length(B& be, Index length) {
    length_ = length;
    const auto value = static_cast<std::int32_t>(length);
    be.upload(past_, &value);
  }

  Heads heads_;
  Index capacity_;
  Index length_ = 0;
  Index rope_offset_ = 0;
  struct Skip {
    Index length, count;  // rows of the cache before the skip, positions
  };
  std::vector<Skip> skips_;
  Tensor<B> past_;  // (1) i32: length_ in backend memory
  std::vector<typename B::KvLayer> layers_;
};

/// The outputs of the qkv layers for the first rows of a sequence, of each layer (rows, qkv width):
/// their keys can be appended again at other positions, without running the layers.
template <Backend B>
struct PrefixRows {
  Index rows = 0;
  std::vector<Tensor<B>> qkv;
};

}  // namespace pllava
