// The part of the output that a block of a prefill attention kernel computes.
#pragma once

#include "attention_rows.cuh"

namespace pllava::cuda::kernels {

/// Up to `block_rows` output rows of one head.
struct QueryBlock {
  int head, kv_head, sequence;
  int first;      // first output row
  int skipped;    // rows of the sequence before its output rows
  int past;       // positions in the cache before the call
  int kv_length;  // past + rows
  int kv_end;     // positions from here on are masked for every row
};

/// Grid of a prefill kernel: (query heads, blocks of rows, sequences).
inline Grid prefill_grid(const Attention& params, int block_rows) {
  return {static_cast<unsigned>(params.num_query_heads), grid_for(params.output_rows, block_rows).x,
          static_cast<unsigned>(params.batch)};
}

template <int block_rows>
PLLAVA_DEVICE QueryBlock query_block(const Attention& params) {
  QueryBlock block;
  block.head = static_cast<int>(blockIdx.x), block.sequence = static_cast<int>(blockIdx.z);
  block.kv_head = block.head / group_size(params);
  // Under a causal mask the last rows have the most keys, so their blocks start first.
  block.first = static_cast<int>(gridDim.y - 1 - blockIdx.y) * block_rows;
  block.past = past_length(params), block.kv_length = block.past + params.rows;
  block.skipped = params.rows - params.output_rows;
  const int last = min(block.first + block_rows, params.output_rows) - 1;
  block.kv_end = params.causal ? block.past + block.skipped + last + 1 : block.kv_length;
  return block;
}

}  // namespace pllava::cuda::kernels
