// What `watch` has seen, in a directory: frames/D/N.ppm, and frames.jsonl with the time and the
// index of each in the source. Whatever ends the writer, the directory can be read up to there.
#pragma once

#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

#include "pllava/media/image.hpp"

namespace cli {

class RecordingWriter {
 public:
  /// Throws FileError if the directory exists.
  static void check_free(const std::filesystem::path& directory);

  /// Creates the directory. Throws FileError, also if it exists.
  explicit RecordingWriter(const std::filesystem::path& directory);

  /// Throws FileError; MediaError for a frame without host pixels.
  void write(const pllava::Frame& frame);

 private:
  std::filesystem::path directory_;
  std::ofstream lines_;
  long long count_ = 0;
};

class RecordingReader {
 public:
  static bool is_recording(const std::filesystem::path& directory);
  /// Throws MediaError.
  explicit RecordingReader(const std::filesystem::path& directory);

  /// The next frame; nullopt at the end. Throws MediaError: a damaged line or frame.
  std::optional<pllava::Frame> next();

 private:
  std::filesystem::path directory_;
  std::ifstream lines_;
  long long line_number_ = 0;
};

}  // namespace cli
