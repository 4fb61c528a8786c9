// What live sources have in common: files, cameras, streams (Video) and memory (FrameQueue).
#pragma once

#include <concepts>
#include <optional>

#include "pllava/core/control.hpp"
#include "pllava/media/image.hpp"

namespace pllava {

struct SourceStats {
  Index received = 0;    ///< frames that arrived and were intact
  Index delivered = 0;   ///< frames that `next` returned
  Index dropped = 0;     ///< left out because a newer frame was due, or there was no room
  Index damaged = 0;     ///< frames that arrived damaged
  Index reconnects = 0;  ///< times that the connection was made again
  double age = 0;        ///< seconds from the arrival to the delivery of the last frame
  bool connected = true;
};

/// A source of frames in the order of their times. `next` waits for a frame, and returns nullopt at
/// the end; it throws CancelledError or DeadlineError if the token is cancelled, and the source
/// stays usable.
template <class S>
concept FrameSource = requires(S& source, const S& constant, const CancelToken& cancel) {
  { source.next(cancel) } -> std::same_as<std::optional<Frame>>;
  { constant.stats() } -> std::same_as<SourceStats>;
};

}  // namespace pllava
