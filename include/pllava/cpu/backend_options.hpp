// Options of the CPU backend, without the backend.
#pragma once

#include <memory>
#include <optional>

#include "pllava/core/dtype.hpp"
#include "pllava/cpu/isa.hpp"

namespace pllava::cpu {

class PackedWeights;  // see cpu/packed_weights.hpp

struct BackendOptions {
  /// f32 or bf16. Empty: Pipeline::load takes the type of the checkpoint; otherwise f32.
  std::optional<DType> dtype = {};
  Index threads = 0;       ///< 0: one for each processor the process may use
  Isa isa = detect_isa();  ///< may be set to a lower one
  /// Stores keys and values in int8, with one scale for each row of a head: half the memory of
  /// bf16, for a relative error of about 0.5 %.
  bool int8_kv = false;
  /// Reads packed weights from a file, or writes them to one; see pllava::packed_weights. May be
  /// null.
  std::shared_ptr<PackedWeights> packed = {};
};

}  // namespace pllava::cpu
