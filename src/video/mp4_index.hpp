// Composition offsets of MP4 and QuickTime files, which FFmpeg does not expose.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace pllava::detail {

/// Presentation time minus decoding time of each sample of a track, in units of its media time
/// scale, up to a constant. Nullopt if the file is fragmented, damaged or of another format, or the
/// table does not have `samples` entries.
std::optional<std::vector<std::int64_t>> composition_offsets(const std::string& path, int track,
                                                             std::size_t samples);

}  // namespace pllava::detail
