#include "pipe.hpp"

#include <array>
#include <new>
#include <system_error>

#include "byte_stream.hpp"
#include "pllava/error.hpp"

namespace pllava::detail {

std::vector<std::byte> read_pipe(const std::string& path, const std::string& name,
                                 const CancelToken& cancel) {
  constexpr std::size_t kMaxBytes = std::size_t{2} << 30;
  ByteStream stream(path, name);
  std::vector<std::byte> bytes;
  std::array<std::uint8_t, 65536> block;  // the capacity of a pipe
  for (;;) {
    const int count = stream.read(block.data(), block.size(), [&] { return cancel.cancelled(); });
    cancel.check("reading of " + name);
    if (count < 0) throw MediaError(name, std::generic_category().message(-count));
    if (count == 0) return bytes;
    if (bytes.size() + static_cast<std::size_t>(count) > kMaxBytes)
      throw MediaError(name, "more than 2 GiB; write it to a file first");
    try {
      const auto* const begin = reinterpret_cast<const std::byte*>(block.data());
      bytes.insert(bytes.end(), begin, begin + count);
    } catch (const std::bad_alloc&) {
      throw OutOfMemoryError(name, bytes.size() * 2);
    }
  }
}

}  // namespace pllava::detail
