#pragma once

#include <cstdint>
#include <string>

namespace enodia {

enum class Severity : uint8_t {
  kWarning,  ///< slower than it could be, or risky
  kError,    ///< training would fail, or a link is bad
};

/// One thing that is wrong with the machines of a job.
struct Finding {
  Severity severity;
  std::string topic;   ///< one word: "mpi", "binding", "link"
  std::string what;    ///< names the rank, node or link, with values
  std::string remedy;  ///< what to do about it
};

}  // namespace enodia
