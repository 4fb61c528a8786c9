// The exceptions of the library. Every public call either succeeds or throws one of these, or the
// exception of a user's callback. After an exception every object is in its state before the call.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

#include "pllava/config.hpp"

// Programs compiled with -fvisibility=hidden catch what a shared library throws: the type
// information must be the same object in both.
#pragma GCC visibility push(default)

namespace pllava {

/// Base of all errors. `what()` is one line: the file, the problem, what was expected and found.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A model file cannot be used: missing, truncated, inconsistent, of another architecture.
class LoadError : public Error {
 public:
  /// Fields that do not apply are empty.
  struct Detail {
    std::string file;      ///< path, relative to what the caller passed
    std::string tensor;    ///< tensor name or JSON key; several are joined by ", "
    std::string expected;  ///< the accepted value
    std::string got;       ///< the value found
  };

  LoadError(const std::string& problem, Detail detail)
      : Error(message(problem, detail)), detail_(std::move(detail)) {}

  const Detail& detail() const noexcept { return detail_; }
  const std::string& file() const noexcept { return detail_.file; }
  const std::string& tensor() const noexcept { return detail_.tensor; }
  const std::string& expected() const noexcept { return detail_.expected; }
  const std::string& got() const noexcept { return detail_.got; }

 private:
  static std::string message(const std::string& problem, const Detail& d) {
    std::string text;
    if (!d.file.empty()) text += d.file + ": ";
    text += problem;
    if (!d.tensor.empty()) text += " (" + d.tensor + ")";
    if (!d.expected.empty()) text += ": expected " + d.expected;
    if (!d.got.empty()) text += (d.expected.empty() ? ": got " : ", got ") + d.got;
    return text;
  }

  Detail detail_;
};

/// A file cannot be written: no permission, no space, the name exists.
class FileError : public Error {
 public:
  FileError(const std::string& file, const std::string& problem)
      : Error(file + ": " + problem), file_(file) {}
  const std::string& file() const noexcept { return file_; }

 private:
  std::string file_;
};

/// The shapes of an operation's tensors do not match. Names the operation and both shapes.
class ShapeError : public Error {
 public:
  ShapeError(const std::string& op, const std::string& problem)
      : Error(op + ": " + problem), op_(op) {}
  const std::string& op() const noexcept { return op_; }

 private:
  std::string op_;
};

/// A video or image cannot be read, or has no usable frame.
class MediaError : public Error {
 public:
  MediaError(const std::string& file, const std::string& problem)
      : Error(file.empty() ? problem : file + ": " + problem), file_(file) {}
  const std::string& file() const noexcept { return file_; }

 private:
  std::string file_;
};

/// A prompt cannot be built or tokenized: invalid UTF-8, no video placeholder, unknown template.
class PromptError : public Error {
 public:
  using Error::Error;
};

/// A sequence is longer than the model's context or a KV cache.
class ContextError : public Error {
 public:
  ContextError(const std::string& what, Index needed, Index available)
      : Error(what + " needs " + std::to_string(needed) + " positions, but only " +
              std::to_string(available) + " are available"),
        needed_(needed),
        available_(available) {}
  Index needed() const noexcept { return needed_; }
  Index available() const noexcept { return available_; }

 private:
  Index needed_;
  Index available_;
};

/// An argument or option has an invalid value (negative temperature, zero frames, ...).
class ArgumentError : public Error {
 public:
  using Error::Error;
};

/// Memory could not be allocated. Names its purpose and size.
class OutOfMemoryError : public Error {
 public:
  OutOfMemoryError(const std::string& purpose, std::uint64_t bytes)
      : Error("out of memory: " + purpose + " needs " + std::to_string(bytes) + " bytes"),
        bytes_(bytes) {}
  std::uint64_t bytes() const noexcept { return bytes_; }

 private:
  std::uint64_t bytes_;
};

/// The caller's cancel token was set. The object is in its state before the call.
class CancelledError : public Error {
 public:
  explicit CancelledError(const std::string& stage) : Error("cancelled during " + stage) {}

 protected:
  CancelledError(const char* what, const std::string& stage) : Error(what + stage) {}
};

/// The deadline of a cancel token passed (CancelToken::until). The object is in its state before
/// the call.
class DeadlineError : public CancelledError {
 public:
  explicit DeadlineError(const std::string& stage)
      : CancelledError("the deadline passed during ", stage) {}
};

}  // namespace pllava

#pragma GCC visibility pop
