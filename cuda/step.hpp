// CUDA graphs of decode steps. A dry run computes the key of a step: a hash of its verbs and their
// operands. A step whose key is known is replayed, any other is recorded first.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <list>
#include <type_traits>
#include <utility>

#include "device.hpp"
#include "pllava/cuda.hpp"

namespace pllava::cuda {

/// Graphs of recorded steps by key, most recently used first.
struct Backend::Graphs {
  static constexpr std::size_t kMaxGraphs = 16;

  std::list<std::pair<std::uint64_t, Graph>> recent;

  /// Null if there is none.
  Graph find(std::uint64_t key) {
    for (auto entry = recent.begin(); entry != recent.end(); ++entry)
      if (entry->first == key) {
        recent.splice(recent.begin(), recent, entry);
        return entry->second;
      }
    return nullptr;
  }
  void insert(std::uint64_t key, Graph graph) {
    recent.emplace_front(key, std::move(graph));
    if (recent.size() > kMaxGraphs) recent.pop_back();
  }
};

inline std::uint64_t hash_combine(std::uint64_t hash, std::uint64_t value) {
  hash ^= value + 0x9e3779b97f4a7c15u + (hash << 6) + (hash >> 2);
  return hash * 0xff51afd7ed558ccdu;
}

// The hash of an operand covers its address and layout, not its values.

inline std::uint64_t hash_of(const void* p) {
  return reinterpret_cast<std::uintptr_t>(p);
}
inline std::uint64_t hash_of(const ConstView& v) {
  return hash_combine(
      hash_combine(hash_of(v.data), static_cast<std::uint64_t>(v.rows())),
      hash_combine(static_cast<std::uint64_t>(v.cols()), static_cast<std::uint64_t>(v.dtype)));
}
inline std::uint64_t hash_of(const Weight& w) {
  const Quantization& q = w.quantization;
  const auto format = static_cast<std::uint64_t>(q.format) << 32 |
                      static_cast<std::uint64_t>(q.group) << 1 |
                      static_cast<std::uint64_t>(q.zero_points);
  return hash_combine(hash_combine(hash_of(w.data.get()), hash_of(w.scales.get())), format);
}
template <class Number>
requires(std::is_integral_v<Number> || std::is_enum_v<Number>) std::uint64_t
    hash_of(Number number) {
  return static_cast<std::uint64_t>(number);
}
inline std::uint64_t hash_of(float number) {
  return std::bit_cast<std::uint32_t>(number);
}

/// In a dry run, adds a verb and its operands to the key of the step.
template <class... Operands>
void Backend::add_to_step_key(const char* verb, const Operands&... operands) {
  if (!dry_run_) return;
  for (const char* letter = verb; *letter != '\0'; ++letter)
    step_key_ = hash_combine(step_key_, static_cast<unsigned char>(*letter));
  ((step_key_ = hash_combine(step_key_, hash_of(operands))), ...);
}

/// Calls launch(), except in a dry run. Throws cuda::Error with the name of the kernel if the
/// result is an error.
template <class Launch>
void Backend::enqueue(const char* kernel, const Launch& launch) {
  if (dry_run_) return;
  const Device::Current current(device_->ordinal());
  Device::check(launch(), kernel);
}

}  // namespace pllava::cuda
