#pragma once

#include <stdexcept>
#include <string>

namespace enodia {

/// What the process returns to the shell (docs/errors.md).
enum class ExitCode : int {
  kDone = 0,
  kOther = 1,
  kConfig = 2,
  kCommunication = 3,
  kFile = 4,
  kStopped = 5,
  kDiverged = 6,
  kWatchdog = 7,
};

/// Root of every exception that Enodia throws. The message is a sentence with values and a remedy.
class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& message, ExitCode code = ExitCode::kOther)
      : std::runtime_error(message),
        code_(code) {}
  ExitCode exit_code() const { return code_; }

 private:
  ExitCode code_;
};

/// A caller broke a contract: a bug in the calling code, thrown by ENODIA_CHECK.
class UsageError : public Error {
 public:
  explicit UsageError(const std::string& message) : Error(message) {}
};

/// The command line or the configuration is wrong. Found by all ranks alike, printed by rank 0.
class ConfigError : public Error {
 public:
  explicit ConfigError(const std::string& message) : Error(message, ExitCode::kConfig) {}
};

/// A peer or the communication library failed.
class CommError : public Error {
 public:
  explicit CommError(const std::string& message) : Error(message, ExitCode::kCommunication) {}
};

/// A checkpoint, data set or tokenizer file is missing, damaged or of another kind.
class FileError : public Error {
 public:
  explicit FileError(const std::string& message) : Error(message, ExitCode::kFile) {}
};

}  // namespace enodia
