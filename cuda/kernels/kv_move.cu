// Moves rows of a KV cache to lower positions.
#include <type_traits>

#include "simt.cuh"

namespace pllava::cuda::kernels {
namespace {

constexpr int kThreads = 256;
constexpr int kLoads = 8;  // in flight per thread

struct Move {
  void *first, *second;  // of equal layout: (heads, head_words) words each
  std::int64_t head_words;
  std::int64_t to, from, words;  // of each head
};

/// A block moves the words of one head. The ranges may overlap: a tile is loaded whole before it is
/// stored, and because to < from, its destination ends before the source of the next tile.
template <class Word>
PLLAVA_KERNEL(kThreads, 1)
move_kernel(Move move) {
  constexpr int kTile = kThreads * kLoads;
  auto* const head =
      static_cast<Word*>(blockIdx.y == 0 ? move.first : move.second) + blockIdx.x * move.head_words;
  for (std::int64_t tile = 0; tile < move.words; tile += kTile) {
    Word words[kLoads] = {};
    PLLAVA_UNROLL
    for (int j = 0; j < kLoads; ++j) {
      const std::int64_t i = tile + j * kThreads + threadIdx.x;
      if (i < move.words) words[j] = head[move.from + i];
    }
    __syncthreads();
    PLLAVA_UNROLL
    for (int j = 0; j < kLoads; ++j) {
      const std::int64_t i = tile + j * kThreads + threadIdx.x;
      if (i < move.words) head[move.to + i] = words[j];
    }
    __syncthreads();
  }
}

/// `row_words` words a row.
template <class Word>
int launch_move(void* first, void* second, std::int64_t row_words, const KvMove& m, Stream stream) {
  const Move move{first,
                  second,
                  m.capacity * row_words,
                  m.to * row_words,
                  m.from * row_words,
                  m.rows * row_words};
  return launch(move_kernel<Word>, {static_cast<unsigned>(m.num_kv_heads), 2}, kThreads, 0, stream,
                move);
}

}  // namespace

int move_kv(const KvMove& move, Stream stream) {
  if (move.to < 0 || move.to >= move.from || move.rows < 0 || move.from + move.rows > move.capacity)
    return kInvalidValue;
  if (move.rows == 0) return 0;
  using Words = Pack<std::uint32_t>;
  const auto width = static_cast<std::int64_t>(sizeof(Words));
  const int status =
      move.row_bytes % width == 0
          ? launch_move<Words>(move.keys, move.values, move.row_bytes / width, move, stream)
          : launch_move<std::uint8_t>(move.keys, move.values, move.row_bytes, move, stream);
  if (status != 0 || move.scales == nullptr) return status;
  return launch_move<float>(move.scales, move.scales + move.num_kv_heads * move.capacity, 1, move,
                            stream);
}

}  // namespace pllava::cuda::kernels
