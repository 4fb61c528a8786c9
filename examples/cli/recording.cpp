#include "recording.hpp"

#include <cstdint>
#include <system_error>

#include <nlohmann/json.hpp>

#include "pllava/error.hpp"
#include "pllava/media/image_io.hpp"

namespace cli {

namespace {

constexpr const char* kLines = "frames.jsonl";

/// A thousand frames a directory: days of video are millions of files.
std::string frame_directory(long long number) {
  return "frames/" + std::to_string(number / 1000);
}

std::string frame_name(long long number) {
  return frame_directory(number) + '/' + std::to_string(number) + ".ppm";
}

}  // namespace

void RecordingWriter::check_free(const std::filesystem::path& directory) {
  std::error_code error;
  if (std::filesystem::exists(std::filesystem::symlink_status(directory, error)))
    throw pllava::FileError(directory.string(), "exists already");
}

RecordingWriter::RecordingWriter(const std::filesystem::path& directory) : directory_(directory) {
  check_free(directory);
  std::error_code error;
  std::filesystem::create_directories(directory / "frames", error);
  if (!error) lines_.open(directory / kLines);
  if (error || !lines_)
    throw pllava::FileError(directory.string(), "cannot be created: " + error.message());
}

void RecordingWriter::write(const pllava::Frame& frame) {
  const pllava::Frame rgb = pllava::to_rgb(frame);
  const std::string name = frame_name(++count_);
  std::error_code error;
  std::filesystem::create_directories(directory_ / frame_directory(count_), error);
  const std::string header =
      "P6 " + std::to_string(rgb.width) + " " + std::to_string(rgb.height) + " 255\n";
  std::ofstream file(directory_ / name, std::ios::binary);
  file.write(header.data(), static_cast<std::streamsize>(header.size()));
  file.write(reinterpret_cast<const char*>(rgb.data), rgb.width * rgb.height * 3);
  if (!file.flush()) throw pllava::FileError((directory_ / name).string(), "cannot be written");
  // The line is what makes the file a part of the recording.
  lines_ << nlohmann::ordered_json{{"file", name}, {"time", frame.time}, {"index", frame.index}}
         << std::endl;
  if (!lines_) throw pllava::FileError((directory_ / kLines).string(), "cannot be written");
}

bool RecordingReader::is_recording(const std::filesystem::path& directory) {
  std::error_code error;
  return std::filesystem::is_regular_file(directory / kLines, error);
}

RecordingReader::RecordingReader(const std::filesystem::path& directory)
    : directory_(directory), lines_(directory / kLines) {
  if (!lines_) throw pllava::MediaError((directory / kLines).string(), "cannot be read");
}

std::optional<pllava::Frame> RecordingReader::next() {
  std::string line;
  if (!std::getline(lines_, line)) return std::nullopt;
  ++line_number_;
  const std::string name = (directory_ / kLines).string();
  std::string file;
  double time = 0;
  pllava::Index index = 0;
  try {
    const nlohmann::json json = nlohmann::json::parse(line);
    file = json.at("file").get<std::string>();
    time = json.at("time").get<double>();
    index = json.at("index").get<pllava::Index>();
  } catch (const nlohmann::json::exception&) {
    if (lines_.eof()) return std::nullopt;  // the writer was stopped in this line
    throw pllava::MediaError(name, "line " + std::to_string(line_number_) +
                                       " is damaged; expected {\"file\":..., \"time\":..., "
                                       "\"index\":...}");
  }
  if (file != frame_name(line_number_))
    throw pllava::MediaError(name, "line " + std::to_string(line_number_) + ": expected the file " +
                                       frame_name(line_number_) + ", got " + file);
  pllava::Frame frame = pllava::load_image(directory_ / file);
  frame.time = time;
  frame.index = index;
  return frame;
}

}  // namespace cli
