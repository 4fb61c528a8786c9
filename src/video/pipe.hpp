// Reads pipes and standard input.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "pllava/core/control.hpp"

namespace pllava::detail {

/// All bytes up to the end of standard input ("-") or of a FIFO. Waits for a writer. Throws
/// MediaError naming `name`: it cannot be opened or read, or has more than 2 GiB; CancelledError
/// within 0.1 s; OutOfMemoryError.
std::vector<std::byte> read_pipe(const std::string& path, const std::string& name,
                                 const CancelToken& cancel);

}  // namespace pllava::detail
