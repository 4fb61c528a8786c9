// The verbs as launches of kernels and products of cuBLASLt.
#include <algorithm>
#include <cstring>
#include <iterator>
#include <list>
#include <type_traits>
#include <utility>
#include <vector>

#include "device.hpp"
#include "kernels/launch.hpp"
#include "pllava/cuda.hpp"

namespace pllava::cuda {

namespace {

constexpr Index kAlignment = 256;
constexpr Index kBlock = Index{32} << 20;        // scratch grows by blocks of at least this size
constexpr Index kSharedBytes = Index{99} << 10;  // what a block can have on every GPU since sm_80
constexpr Index kPanelBytes = Index{64} << 20;   // of a weight that is dequantised part by part
constexpr Index kPanelRows = 256;                // its rows are a multiple: all parts start aligned
constexpr Index kBucket = 256;  // positions: a recorded step serves all lengths of a bucket
constexpr std::size_t kMostGraphs = 16;

kernels::Type type_of(DType dtype) {
  switch (dtype) {
    case DType::f16: return kernels::Type::f16;
    case DType::bf16: return kernels::Type::bf16;
    default: return kernels::Type::f32;
  }
}
kernels::Operand operand(const View& v) {
  return {v.data, type_of(v.dtype)};
}
/// An input: kernels only read it, although Operand has no const form.
kernels::Operand operand(const ConstView& v) {
  return {const_cast<void*>(v.data), type_of(v.dtype)};
}
kernels::Operand operand(const Weight& w) {
  return {w.data.get(), type_of(w.dtype)};
}
bool is_plain(const Weight& w) {
  return w.quantization.format == WeightFormat::unquantized;
}
/// The layout of a rounded matrix, which lies in w.data and w.factors.
kernels::QuantizedMatrix quantized(const Weight& w) {
  const Quantization& q = w.quantization;
  kernels::QuantizedMatrix m;
  m.type = q.format == WeightFormat::int4  ? kernels::QuantizedType::int4
           : q.format == WeightFormat::fp8 ? kernels::QuantizedType::e4m3
                                           : kernels::QuantizedType::int8;
  m.packs = static_cast<int>((w.cols * kernels::bits_of(m.type) + 127) / 128);
  m.values = static_cast<const std::uint32_t*>(w.data.get());
  m.channel_scales = static_cast<const float*>(w.factors.get());
  if (m.type != kernels::QuantizedType::int4) return m;
  m.log2_group_packs = q.group == 128 ? 2 : 0;
  m.group_scales = reinterpret_cast<const std::uint8_t*>(m.channel_scales + w.rows);
  if (q.zero_points) m.zero_points = m.group_scales + w.rows * ((w.cols + q.group - 1) / q.group);
  return m;
}
float* floats(const View& v) {
  return v.as<float>();
}
const float* floats(const ConstView& v) {
  return v.as<float>();
}
const float* floats(const Weight& w) {
  return static_cast<const float*>(w.data.get());
}
kernels::Act act_of(Activation act) {
  switch (act) {
    case Activation::none: return kernels::Act::none;
    case Activation::quick_gelu: return kernels::Act::quick_gelu;
    case Activation::gelu: return kernels::Act::gelu;
    case Activation::silu: return kernels::Act::silu;
  }
  return kernels::Act::none;
}

std::shared_ptr<void> device_memory(const std::shared_ptr<Device>& device, Index bytes,
                                    const char* what_for) {
  return {device->allocate(std::max<Index>(bytes, 1), what_for),
          [device](void* memory) { device->release(memory); }};
}

}  // namespace

// ---- memory -------------------------------------------------------------------------------------

/// A stack in blocks of device memory: equal requests get equal addresses.
class Scratch {
 public:
  explicit Scratch(std::shared_ptr<Device> device) : device_(std::move(device)) {}

  void* allocate(Index bytes) {
    bytes = (bytes + kAlignment - 1) / kAlignment * kAlignment;
    while (block_ < blocks_.size() && used_ + bytes > blocks_[block_].bytes) ++block_, used_ = 0;
    if (block_ == blocks_.size()) {
      const Index size = std::max(bytes, kBlock);
      blocks_.push_back({device_memory(device_, size, "scratch"), size});
      used_ = 0;
    }
    void* const memory = static_cast<std::byte*>(blocks_[block_].memory.get()) + used_;
    used_ += bytes;
    return memory;
  }

  std::size_t block() const noexcept { return block_; }
  Index used() const noexcept { return used_; }
  void rewind(std::size_t block, Index used) noexcept { block_ = block, used_ = used; }

 private:
  struct Block {
    std::shared_ptr<void> memory;
    Index bytes;
  };
  std::shared_ptr<Device> device_;
  std::vector<Block> blocks_;
  std::size_t block_ = 0;
  Index used_ = 0;
};

Backend::Scope::Scope(Scratch& scratch)
    : scratch_(scratch), block_(scratch.block()), used_(scratch.used()) {}
Backend::Scope::~Scope() {
  scratch_.rewind(block_, used_);
}

View Backend::scratch(const Shape& shape, DType dtype) {
  return {scratch_->allocate(shape.count() * size_of(dtype)), dtype, shape};
}

std::shared_ptr<void> Backend::allocate(Index bytes) {
  return device_memory(device_, bytes, "a tensor");
}
void Backend::upload(View dst, const void* src) {
  if (dst.bytes() > 0) device_->to_device(dst.data, src, dst.bytes());
}
void Backend::download(void* dst, ConstView src) {
  if (src.bytes() > 0) device_->to_host(dst, src.data, src.bytes());
}
void Backend::copy(View dst, ConstView src) {
  note("copy", dst, src);
  enqueue("copy", [&] {
    if (dst.bytes() > 0) device_->copy(dst.data, src.data, dst.bytes());
    return 0;
  });
}
void Backend::synchronize() {
  device_->synchronize();
}

// ---- construction -------------------------------------------------------------------------------

/// Recorded steps by what they do, the latest used first.
struct Backend::Graphs {
  std::list<std::pair<std::uint64_t, Graph>> recent;

  Graph find(std::uint64_t key) {
    for (auto entry = recent.begin(); entry != recent.end(); ++entry)
      if (entry->first == key) {
        recent.splice(recent.begin(), recent, entry);
        return entry->second;
      }
    return nullptr;
  }
  void keep(std::uint64_t key, Graph graph) {
    recent.emplace_front(key, std::move(graph));
    if (recent.size() > kMostGraphs) recent.pop_back();
  }
};

Backend::Backend(const BackendOptions& options)
    : Backend(options, std::make_shared<Device>(options.device)) {}

Backend::Backend(const BackendOptions& options, std::shared_ptr<Device> device)
    : options_(options),
      device_(std::move(device)),
      scratch_(std::make_unique<Scratch>(device_)),
      graphs_(std::make_unique<Graphs>()),
      ended_(device_memory(device_, sizeof(unsigned), "a counter")) {
  if (options.dtype != DType::f32 && options.dtype != DType::f16 && options.dtype != DType::bf16)
    throw ArgumentError("the CUDA backend computes in f32, f16 or bf16, not in " +
                        std::string(name_of(options.dtype)));
  const unsigned none = 0;
  device_->to_device(ended_.get(), &none, sizeof none);
}

Backend::Backend(Backend&&) noexcept = default;
Backend& Backend::operator=(Backend&&) noexcept = default;
Backend::~Backend() = default;

Backend Backend::fork() const {
  return Backend(options_, std::make_shared<Device>(device_->ordinal()));
}

// ---- weights ------------------------------------------------------------------------------------

namespace {

/// Rounds the rows of w and lays them out as kernels read them.
void prepare_rounded(Weight& w, std::span<const HostTensor> parts,
                     const std::shared_ptr<Device>& device) {
  const Quantization& q = w.quantization;
  require_valid(q);
  const Index stored_bytes = stored_row_bytes(q, w.cols);
  const Index value_bytes = q.format == WeightFormat::int4 ? (w.cols + 1) / 2 : w.cols;
  const Index row_bytes = Index{quantized(w).packs} * 16;
  constexpr Index kChunk = Index{4} << 20;  // bytes: the host never holds a whole weight
  const Index most = std::max<Index>(kChunk / std::max<Index>(row_bytes, 1), 1);
  w.data = device_memory(device, w.rows * row_bytes, "a weight");
  auto* out = static_cast<std::byte*>(w.data.get());
  std::vector<float> scales;
  std::vector<std::uint8_t> multipliers, zeros;
  std::vector<std::byte> chunk, rounded(static_cast<std::size_t>(stored_bytes));
  for (const HostTensor& p : parts)
    for (Index begin = 0; begin < p.shape[0]; begin += most) {
      const Index rows = std::min(most, p.shape[0] - begin);
      chunk.assign(static_cast<std::size_t>(rows * row_bytes), std::byte{0});
      for (Index r = 0; r < rows; ++r) {
        const std::byte* stored = p.data + (begin + r) * stored_bytes;
        if (p.dtype != DType::u8) {
          store_row(rounded.data(), quantized_row(p, begin + r), q);
          stored = rounded.data();
        }
        const QuantizedRow row = load_row(stored, w.cols, q, false);
        scales.push_back(row.channel_scale);
        multipliers.insert(multipliers.end(), row.group_scales.begin(), row.group_scales.end());
        if (q.zero_points)
          zeros.insert(zeros.end(), row.zero_points.begin(), row.zero_points.end());
        std::copy_n(stored + stored_bytes - value_bytes, value_bytes,
                    chunk.begin() + r * row_bytes);
      }
      device->to_device(out, chunk.data(), rows * row_bytes);
      out += rows * row_bytes;
    }
  const auto size_in_bytes = [](const auto& v) {
    return static_cast<Index>(v.size() * sizeof(v[0]));
  };
  w.factors = device_memory(
      device, size_in_bytes(scales) + size_in_bytes(multipliers) + size_in_bytes(zeros),
      "the scales of a weight");
  auto* factors = static_cast<std::byte*>(w.factors.get());
  const auto append = [&](const auto& v) {
    device->to_device(factors, v.data(), size_in_bytes(v));
    factors += size_in_bytes(v);
  };
  append(scales), append(multipliers), append(zeros);
}

}  // namespace

Weight Backend::prepare(std::span<const HostTensor> parts, WeightRole role) {
  Weight w;
  const bool vector = role == WeightRole::vector;
  w.dtype = vector ? DType::f32 : options_.dtype;
  Index count = 0;
  for (const HostTensor& p : parts) count += p.shape.count();
  w.cols = vector ? count : parts[0].shape[1];
  w.rows = w.cols == 0 ? 0 : count / w.cols;
  w.quantization = quantization_for(parts, role);
  const auto upload_as = [&](DType dtype) {
    auto memory = device_memory(device_, count * size_of(dtype), "a weight");
    auto* out = static_cast<std::byte*>(memory.get());
    for (const HostTensor& p : parts) {
      const Index each = size_of(dtype), bytes = p.shape.count() * each;
      if (p.dtype == dtype) {
        device_->to_device(out, p.data, bytes);
      } else {
        device_->to_device(out, bytes, [&](std::byte* to, Index begin, Index size) {
          for (Index i = 0; i < size / each; ++i)
            store_float(to, dtype, i, load_float(p.data, p.dtype, begin / each + i));
        });
      }
      out += bytes;
    }
    return memory;
  };
  if (is_plain(w))
    w.data = upload_as(w.dtype);
  else
    prepare_rounded(w, parts, device_);
  if (vector && options_.dtype != DType::f32) w.narrow = upload_as(options_.dtype);
  device_->synchronize();  // other streams may read it from now on
  return w;
}

KvLayer Backend::make_kv(const Heads& heads, Index capacity) {
  const Index rows = heads.num_kv_heads * capacity;
  const Index bytes = rows * heads.head_dim * (options_.int8_kv ? 1 : size_of(options_.dtype));
  KvLayer layer = {capacity, device_memory(device_, bytes, "the keys of a layer"),
                   device_memory(device_, bytes, "the values of a layer"), nullptr};
  if (options_.int8_kv)
    layer.scales = device_memory(device_, 2 * rows * Index{sizeof(float)},
                                 "the scales of a layer's keys and values");
  return layer;
}

// ---- steps --------------------------------------------------------------------------------------

namespace {

std::uint64_t mixed(std::uint64_t hash, std::uint64_t value) {
  hash ^= value + 0x9e3779b97f4a7c15u + (hash << 6) + (hash >> 2);
  return hash * 0xff51afd7ed558ccdu;
}
std::uint64_t bits_of(const void* p) {
  return reinterpret_cast<std::uintptr_t>(p);
}
std::uint64_t bits_of(const ConstView& v) {
  return mixed(mixed(bits_of(v.data), static_cast<std::uint64_t>(v.rows())),
               mixed(static_cast<std::uint64_t>(v.cols()), static_cast<std::uint64_t>(v.dtype)));
}
std::uint64_t bits_of(const Weight& w) {
  const Quantization& q = w.quantization;
  const auto kind = static_cast<std::uint64_t>(q.format) << 32 |
                    static_cast<std::uint64_t>(q.group) << 1 |
                    static_cast<std::uint64_t>(q.zero_points);
  return mixed(mixed(bits_of(w.data.get()), bits_of(w.factors.get())), kind);
}
template <class Number>
requires(std::is_arithmetic_v<Number> || std::is_enum_v<Number>) std::uint64_t
    bits_of(Number number) {
  return static_cast<std::uint64_t>(number);
}

}  // namespace

/// In a rehearsal, adds the verb and what it works on to the fingerprint of the step.
template <class... Values>
void Backend::note(const char* verb, const Values&... values) {
  if (!rehearsing_) return;
  for (const char* letter = verb; *letter != '\0'; ++letter)
    noted_ = mixed(noted_, static_cast<unsigned char>(*letter));
  ((noted_ = mixed(noted_, bits_of(values))), ...);
}

template <class Launch>
void Backend::enqueue(const char* kernel, const Launch& launch) {
  if (rehearsing_) return;
  const Device::Current current(device_->ordinal());
  Device::check(launch(), kernel);
}

/// Rehearses the body: which verbs on which memory? If just that was recorded before, it is
/// replayed.
void Backend::run_step(const std::function<void()>& body) {
  if (!options_.graphs) return body();
  noted_ = 0;
  rehearsing_ = true;
  try {
    auto scope = this->scope();
    body();
  } catch (...) {
    rehearsing_ = false;
    throw;
  }
  rehearsing_ = false;
  Graph graph = graphs_->find(noted_);
  if (graph == nullptr) {
    graph = device_->record(body);
    if (graph == nullptr) return body();
    graphs_->keep(noted_, graph);
    ++recorded_;
  } else {
    ++replayed_;
  }
  device_->replay(graph);
}

// ---- products -----------------------------------------------------------------------------------

namespace {

kernels::Norm norm_of(const Backend::Norm& n) {
  return {floats(n.gain), n.bias ? floats(n.bias) : nullptr, n.eps};
}

}  // namespace

/// Whether a product of so many rows, each of `in` numbers, takes the kernels of few rows.
bool Backend::is_few(Index rows, Index in) const noexcept {
  return !options_.deterministic && rows <= kernels::kMaxGemvRows &&
         kernels::gemv_shared_bytes(static_cast<int>(rows), static_cast<int>(in)) <= kSharedBytes;
}

/// x, converted into scratch where it is of another type.
ConstView Backend::converted(ConstView x, DType dtype) {
  if (x.dtype == dtype) return x;
  const View y = scratch(x.shape, dtype);
  enqueue("convert", [&] {
    return kernels::convert(operand(y), operand(x), x.shape.count(), device_->stream());
  });
  return y;
}

namespace {

/// Rows of a weight that are dequantised at a time, where one takes `bytes`.
Index panel_rows(Index bytes) {
  return std::max<Index>(kPanelBytes / std::max<Index>(bytes, 1) / kPanelRows, 1) * kPanelRows;
}

/// A product of many rows with the matrix of w, without its operands.
Product many_rows(Index rows, const Backend::Linear& w, bool add, bool invariant) {
  Product product;
  product.rows = rows, product.out = product.stride = w.out, product.in = w.in;
  product.add = add, product.invariant = invariant;
  return product;
}

kernels::Gemv few_rows(const View& y, const ConstView& x, const Backend::Linear& w,
                       Activation act) {
  kernels::Gemv call;
  call.y = operand(y), call.x = operand(x);
  call.bias = w.bias ? floats(w.bias) : nullptr;
  call.rows = static_cast<int>(x.rows());
  call.out = static_cast<int>(w.out), call.in = static_cast<int>(w.in);
  call.act = act_of(act);
  return call;
}

}  // namespace

void Backend::multiply(View y, ConstView x, const Linear& w, bool add, Activation act) {
  if (is_few(x.rows(), w.in)) {
    kernels::Gemv call = few_rows(y, x, w, act);
    call.accumulate = add;
    enqueue("gemv", [&] {
      return is_plain(w.weight) ? kernels::gemv(call, operand(w.weight), device_->stream())
                                : kernels::gemv(call, quantized(w.weight), device_->stream());
    });
    return;
  }
  if (takes_fp8(w)) return multiply_fp8(y, x, w, add, act);
  x = converted(x, w.weight.dtype);
  const bool plain = is_plain(w.weight);
  const Index most = plain ? w.out : panel_rows(w.in * size_of(w.weight.dtype));
  Product product = many_rows(x.rows(), w, add, options_.deterministic);
  product.x = operand(x), product.w = operand(w.weight);
  if (!plain) product.w = operand(scratch({std::min(most, w.out), w.in}, w.weight.dtype));
  const void* const bias = y.dtype == DType::f32 ? w.bias.data.get() : w.bias.narrow.get();
  for (Index first = 0; first < w.out; first += most) {
    product.out = std::min(most, w.out - first);
    const Index bytes = first * size_of(y.dtype);
    product.y = {static_cast<std::byte*>(y.data) + bytes, type_of(y.dtype)};
    if (bias != nullptr) product.bias = static_cast<const std::byte*>(bias) + bytes;
    if (!plain)
      enqueue("dequantize", [&] {
        return kernels::dequantize(product.w, quantized(w.weight), static_cast<int>(first),
                                   static_cast<int>(product.out), static_cast<int>(w.in),
                                   device_->stream());
      });
    enqueue("multiply", [&] {
      device_->multiply(product);
      return 0;
    });
  }
  activate(y, act);
}

/// Whether products of many rows with this matrix round their rows to e4m3, too.
bool Backend::takes_fp8(const Linear& w) const noexcept {
  return w.weight.quantization.format == WeightFormat::fp8 && options_.dtype == DType::bf16 &&
         device_->multiplies_fp8() && w.in % 16 == 0 && w.out % 16 == 0;
}

void Backend::multiply_fp8(View y, ConstView x, const Linear& w, bool add, Activation act) {
  const View codes = scratch({x.rows(), w.in}, DType::u8);
  const View scales = scratch({x.rows()}, DType::f32);
  enqueue("quantize_rows", [&] {
    return kernels::quantize_rows(codes.as<std::uint8_t>(), floats(scales), operand(x), x.rows(),
                                  static_cast<int>(w.in), device_->stream());
  });
  Product product = many_rows(x.rows(), w, add, options_.deterministic);
  product.y = operand(y);
  product.x.data = codes.data, product.w.data = w.weight.data.get();
  product.x_scales = floats(scales), product.w_scales = quantized(w.weight).channel_scales;
  product.bias = w.bias.narrow.get();
  enqueue("multiply", [&] {
    device_->multiply(product);
    return 0;
  });
  activate(y, act);
}

void Backend::activate(View y, Activation act) {
  if (act == Activation::none) return;
  enqueue("activate", [&] {
    return kernels::activate(operand(y), y.shape.count(), act_of(act), device_->stream());
  });
}

void Backend::linear(View y, ConstView x, const Linear& w, Activation act) {
  note("linear", y, x, w.weight, w.bias, w.out, act);
  auto scope = this->scope();
  multiply(y, x, w, false, act);
}

void Backend::residual(View x, ConstView y, const Linear& w) {
  note("residual", x, y, w.weight, w.bias);
  auto scope = this->scope();
  multiply(x, y, w, true, Activation::none);
}

/// One row: the product norms. Many rows: cuBLASLt adds the product (beta = 1), a kernel norms.
/// That moves 14 bytes a value with a 16-bit h: x read, written and read again, h written. A kernel
/// that adds and norms would have to be handed the product: in f32 it moves 18, in 16 bits 14 and
/// rounds the branch. Fewer take a product whose tiles are whole rows, which cuBLASLt does not
/// offer.
void Backend::residual_norm(View x, View h, ConstView y, const Linear& w, const Norm& next) {
  const int shared =
      kernels::gemv_norm_shared_bytes(static_cast<int>(w.out), static_cast<int>(w.in));
  if (y.rows() > 1 || shared > kSharedBytes || options_.deterministic) {
    residual(x, y, w);
    norm(h, x, next);
    return;
  }
  note("residual_norm", x, h, y, w.weight, w.bias, next.gain, next.bias);
  kernels::Gemv call = few_rows(x, y, w, Activation::none);
  call.accumulate = true;
  const auto gemv_norm = [&](const auto& matrix) {
    return kernels::gemv_norm(call, matrix, operand(h), norm_of(next),
                              static_cast<unsigned*>(ended_.get()), device_->stream());
  };
  enqueue("gemv_norm", [&] {
    return is_plain(w.weight) ? gemv_norm(operand(w.weight)) : gemv_norm(quantized(w.weight));
  });
}

void Backend::glu(View g, ConstView h, const Linear& gate_up, Activation act) {
  note("glu", g, h, gate_up.weight, act);
  auto scope = this->scope();
  if (is_few(h.rows(), gate_up.in)) {
    const kernels::Gemv call = few_rows(g, h, gate_up, act);
    const Weight& w = gate_up.weight;
    enqueue("gemv_glu", [&] {
      return is_plain(w) ? kernels::gemv_glu(call, operand(w), device_->stream())
                         : kernels::gemv_glu(call, quantized(w), device_->stream());
    });
    return;
  }
  const View both = scratch({g.rows(), 2 * g.cols()}, g.dtype);
  Linear stacked = gate_up;
  stacked.out = 2 * gate_up.out;
  multiply(both, h, stacked, false, Activation::none);
  enqueue("act_mul", [&] {
    return kernels::act_mul(operand(g), operand(both), g.rows(), static_cast<int>(g.cols()),
                            act_of(act), device_->stream());
  });
}

// ---- row by row ---------------------------------------------------------------------------------

void Backend::norm(View y, ConstView x, const Norm& n) {
  note("norm", y, x, n.gain, n.bias);
  enqueue("norm", [&] {
    return kernels::norm(operand(y), floats(x), x.rows(), static_cast<int>(x.cols()), norm_of(n),
                         device_->stream());
  });
}

void Backend::attend(View o, ConstView qkv, const Attention& attention) {
  const auto& [heads, rope, kv, seq, mask] = attention;
  const Index bound = (seq.bound + kBucket - 1) / kBucket * kBucket;
  note("attend", o, qkv, kv != nullptr ? kv->keys.get() : nullptr,
       kv != nullptr ? kv->values.get() : nullptr, seq.past, bound, seq.batch, mask,
       rope != nullptr ? rope->table.data.get() : nullptr, heads.num_query_heads,
       heads.num_kv_heads);
  auto scope = this->scope();
  kernels::Attention call;
  call.o = operand(o), call.qkv = operand(qkv);
  call.rope = rope != nullptr ? floats(rope->table) : nullptr;
  call.batch = static_cast<int>(seq.batch);
  call.rows = static_cast<int>(qkv.rows() / seq.batch);
  call.output_rows = static_cast<int>(o.rows() / seq.batch);
  call.num_query_heads = static_cast<int>(heads.num_query_heads),
  call.num_kv_heads = static_cast<int>(heads.num_kv_heads);
  call.head_dim = static_cast<int>(heads.head_dim);
  call.causal = mask == Mask::causal;
  call.max_kv_length = call.rows;
  if (kv != nullptr) {
    call.keys = kv->keys.get(), call.values = kv->values.get();
    call.capacity = kv->capacity;
    call.past = seq.past.as<std::int32_t>();
    call.kv_scales = static_cast<float*>(kv->scales.get());
    call.max_kv_length = std::min(bound, kv->capacity);
    enqueue("append_kv", [&] { return kernels::append_kv(call, device_->stream()); });
  }
  if (call.output_rows == 0) return;
  if (kv != nullptr && call.rows <= kernels::kMaxDecodeRows && !options_.deterministic) {
    const View partials = scratch({kernels::decode_workspace_bytes(call)}, DType::u8);
    enqueue("decode_attention",
            [&] { return kernels::decode_attention(call, partials.data, device_->stream()); });
  } else {
    enqueue("prefill_attention",
            [&] { return kernels::prefill_attention(call, device_->stream()); });
  }
}

void Backend::embed(View x, ConstView ids, const Weight& table) {
  note("embed", x, ids, table);
  enqueue("embed", [&] {
    return kernels::embed(floats(x), ids.as<std::int32_t>(), operand(table), x.rows(),
                          static_cast<int>(x.cols()), device_->stream());
  });
}

void Backend::patchify(View y, ConstView pixels, Index patch) {
  note("patchify", y, pixels, patch);
  enqueue("patchify", [&] {
    return kernels::patchify(operand(y), floats(pixels), static_cast<int>(pixels.shape[0]),
                             static_cast<int>(pixels.shape[2]), static_cast<int>(patch),
                             device_->stream());
  });
}

void Backend::add_positions(View x, ConstView patches, const Weight& cls, const Weight& positions,
                            Index per_frame) {
  note("add_positions", x, patches, cls, positions, per_frame);
  enqueue("add_positions", [&] {
    return kernels::add_positions(floats(x), operand(patches), floats(cls), floats(positions),
                                  static_cast<int>(patches.rows() / per_frame),
                                  static_cast<int>(per_frame), static_cast<int>(x.cols()),
                                  device_->stream());
  });
}

void Backend::select_patches(View y, ConstView x, Index per_frame) {
  note("select_patches", y, x, per_frame);
  enqueue("select_patches", [&] {
    return kernels::select_patches(operand(y), floats(x), static_cast<int>(y.rows() / per_frame),
                                   static_cast<int>(per_frame), static_cast<int>(y.cols()),
                                   device_->stream());
  });
}

void Backend::pool3d(View y, ConstView x, const Grid& in, const Grid& out, PoolKind kind) {
  note("pool3d", y, x, in.t, in.h, in.w, out.t, out.h, out.w, kind);
  const auto size = [](Index i) { return static_cast<int>(i); };
  const kernels::Pool pool{{size(in.t), size(in.h), size(in.w)},
                           {size(out.t), size(out.h), size(out.w)},
                           size(x.cols()),
                           kind == PoolKind::average};
  enqueue("pool3d",
          [&] { return kernels::pool3d(operand(y), operand(x), pool, device_->stream()); });
}

/// The ids that penalties change travel to the device, each time and all of them: they are few, and
/// nothing there has to remember which sampler they are of.
std::int32_t Backend::sample(View id, View logits, Sampler& sampler) {
  const SamplingOptions& options = sampler.options();
  const Sampler::Step step = sampler.next();
  const Index count = logits.shape.count();
  std::vector<std::int32_t> ids(step.penalised.begin(), step.penalised.end());
  ids.insert(ids.end(), step.suppressed.begin(), step.suppressed.end());
  auto scope = this->scope();
  const View changed = scratch({static_cast<Index>(ids.size())}, DType::i32);
  const View candidates = scratch({count * Index{sizeof(std::uint64_t)}}, DType::u8);
  upload(changed, ids.data());
  kernels::Sampling call;
  call.ids = changed.as<std::int32_t>();
  call.num_penalized = static_cast<int>(step.penalised.size());
  call.num_excluded = static_cast<int>(step.suppressed.size());
  call.penalty = options.repetition_penalty;
  call.temperature = options.temperature;
  call.top_k = static_cast<int>(std::min(options.top_k, count));
  call.top_p = options.top_p;
  call.uniform = step.uniform;
  enqueue("sample", [&] {
    return kernels::sample(id.as<std::int32_t>(), floats(logits), static_cast<int>(count), call,
                           candidates.as<std::uint64_t>(), device_->stream());
  });
  std::int32_t chosen = -1;
  download(&chosen, id);
  if (chosen < 0) {
    std::vector<float> host(static_cast<std::size_t>(count));
    download(host.data(), logits);
    return sampler.sample(host);  // throws: it says what is wrong with the logits
  }
  sampler.accept(chosen);
  return chosen;
}

}  // namespace pllava::cuda
