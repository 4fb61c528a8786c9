// Prefill attention compared with cuDNN's fused attention on the same GPU: equal results, and the
// times of both. Built where cuDNN and its frontend (the headers of PyPI's nvidia-cudnn-frontend)
// are found.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <iostream>
#include <random>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <vector>

#include <cuda_runtime.h>
#include <cudnn_frontend.h>

#include "kernels/launch.hpp"
#include "pllava/core/dtype.hpp"
#include "support/catch.hpp"

namespace {

namespace fe = cudnn_frontend;
namespace kernels = pllava::cuda::kernels;
using pllava::bf16;

void check(cudaError_t status) {
  if (status != cudaSuccess) throw std::runtime_error(cudaGetErrorString(status));
}
void check(fe::error_t error) {
  if (error.is_bad()) throw std::runtime_error(error.get_message());
}

template <class T>
class DeviceArray {
 public:
  explicit DeviceArray(std::size_t size) : size_(size) {
    check(cudaMalloc(&data_, size * sizeof(T)));
  }
  explicit DeviceArray(const std::vector<T>& host) : DeviceArray(host.size()) {
    check(cudaMemcpy(data_, host.data(), size_ * sizeof(T), cudaMemcpyHostToDevice));
  }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;
  ~DeviceArray() { cudaFree(data_); }

  void* data() const { return data_; }
  std::vector<T> host() const {
    std::vector<T> copy(size_);
    check(cudaMemcpy(copy.data(), data_, size_ * sizeof(T), cudaMemcpyDeviceToHost));
    return copy;
  }

 private:
  void* data_ = nullptr;
  std::size_t size_;
};

struct Case {
  const char* name;
  std::int64_t batch, rows, query_heads, kv_heads, head_dim;
  bool causal;
  std::int64_t width() const { return (query_heads + 2 * kv_heads) * head_dim; }
};

/// cuDNN's graph for rows [query·dim | kv·dim | kv·dim] of bf16.
class Fused {
 public:
  explicit Fused(const Case& c) : case_(c) {
    if (cudnnCreate(&handle_) != CUDNN_STATUS_SUCCESS) throw std::runtime_error("cudnnCreate");
    graph_.set_io_data_type(fe::DataType_t::BFLOAT16)
        .set_intermediate_data_type(fe::DataType_t::FLOAT)
        .set_compute_data_type(fe::DataType_t::FLOAT);
    const auto part = [&](const char* name, std::int64_t uid, std::int64_t heads) {
      return graph_.tensor(fe::graph::Tensor_attributes()
                               .set_name(name)
                               .set_uid(uid)
                               .set_dim({c.batch, heads, c.rows, c.head_dim})
                               .set_stride({c.rows * c.width(), c.head_dim, c.width(), 1}));
    };
    const auto q = part("q", kQuery, c.query_heads), k = part("k", kKey, c.kv_heads),
               v = part("v", kValue, c.kv_heads);
    auto options = fe::graph::SDPA_attributes()
                       .set_name("attention")
                       .set_generate_stats(false)
                       .set_attn_scale(1.0f / std::sqrt(static_cast<float>(c.head_dim)));
    if (c.causal)
      options.set_diagonal_alignment(fe::DiagonalAlignment_t::TOP_LEFT)
          .set_diagonal_band_right_bound(0);
    const auto o = graph_.sdpa(q, k, v, options)[0];
    const std::int64_t out = c.query_heads * c.head_dim;
    o->set_output(true)
        .set_uid(kOut)
        .set_dim({c.batch, c.query_heads, c.rows, c.head_dim})
        .set_stride({c.rows * out, c.head_dim, out, 1});
    check(graph_.build(handle_, {fe::HeurMode_t::A}));
    std::int64_t bytes = 0;
    check(graph_.get_workspace_size(bytes));
    check(cudaMalloc(&workspace_, static_cast<std::size_t>(bytes) + 1));
  }
  Fused(const Fused&) = delete;
  Fused& operator=(const Fused&) = delete;
  ~Fused() {
    cudaFree(workspace_);
    cudnnDestroy(handle_);
  }

  void run(void* o, void* qkv) {
    auto* const rows = static_cast<bf16*>(qkv);
    std::unordered_map<std::int64_t, void*> pack = {
        {kQuery, rows},
        {kKey, rows + case_.query_heads * case_.head_dim},
        {kValue, rows + (case_.query_heads + case_.kv_heads) * case_.head_dim},
        {kOut, o}};
    check(graph_.execute(handle_, pack, workspace_));
  }

 private:
  enum : std::int64_t { kQuery = 1, kKey, kValue, kOut };
  Case case_;
  cudnnHandle_t handle_ = nullptr;
  fe::graph::Graph graph_;
  void* workspace_ = nullptr;
};

/// Median time of 21 calls in milliseconds.
double milliseconds(const std::function<void()>& call) {
  cudaEvent_t begin = nullptr, end = nullptr;
  check(cudaEventCreate(&begin));
  check(cudaEventCreate(&end));
  std::vector<float> times(21);
  for (float& time : times) {
    check(cudaEventRecord(begin));
    call();
    check(cudaEventRecord(end));
    check(cudaEventSynchronize(end));
    check(cudaEventElapsedTime(&time, begin, end));
  }
  cudaEventDestroy(begin);
  cudaEventDestroy(end);
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

TEST_CASE("Prefill attention matches cuDNN's fused attention", "[cuda]") {
  for (const Case& c : {Case{"16 frames of ViT-L/14-336", 16, 577, 16, 16, 64, false},
                        Case{"prefill of 2,400 rows, 32 heads", 1, 2400, 32, 32, 128, true},
                        Case{"the same, 8 kv heads", 1, 2400, 32, 8, 128, true}}) {
    std::mt19937 random(1);
    std::uniform_real_distribution<float> uniform(-1, 1);
    std::vector<bf16> rows(static_cast<std::size_t>(c.batch * c.rows * c.width()));
    for (bf16& x : rows) x = pllava::from_float<bf16>(uniform(random));
    const DeviceArray<bf16> qkv(rows);
    const auto size = static_cast<std::size_t>(c.batch * c.rows * c.query_heads * c.head_dim);
    const DeviceArray<bf16> ours(size), theirs(size);

    kernels::Attention call;
    call.o = {ours.data(), kernels::Type::bf16};
    call.qkv = {qkv.data(), kernels::Type::bf16};
    call.rows = call.output_rows = static_cast<int>(c.rows);
    call.batch = static_cast<int>(c.batch);
    call.num_query_heads = static_cast<int>(c.query_heads);
    call.num_kv_heads = static_cast<int>(c.kv_heads);
    call.head_dim = static_cast<int>(c.head_dim);
    call.max_kv_length = c.rows;
    call.causal = c.causal;
    Fused fused(c);
    const double mine = milliseconds([&] { REQUIRE(prefill_attention(call, nullptr) == 0); });
    const double cudnn = milliseconds([&] { fused.run(theirs.data(), qkv.data()); });
    const double flops =
        c.causal ? 2 : 4;  // per value: two GEMMs, half of each under a causal mask
    const auto tflops = [&](double ms) {
      return flops * static_cast<double>(c.batch * c.query_heads * c.rows * c.rows * c.head_dim) /
             ms / 1e9;
    };
    std::cout << c.name << ": ours " << mine << " ms (" << tflops(mine) << " TFLOP/s), cuDNN "
              << cudnn << " ms (" << tflops(cudnn) << ")\n";

    const auto a = ours.host(), b = theirs.host();
    double worst = 0;
    for (std::size_t i = 0; i < size; ++i)
      worst = std::max(worst, std::abs(double{to_float(a[i])} - to_float(b[i])));
    CHECK(worst < 1.5e-2);
  }
}

}  // namespace
