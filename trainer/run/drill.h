#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "collectives/decorators/recording.h"

namespace enodia {

/// A rehearsal for people who want to see on their own machines what happens when a rank fails:
/// `--drill KIND:RANK:STEP`.
struct Drill {
  enum class Kind : uint8_t {
    kStop,  ///< the rank stops itself by SIGSTOP
    kSkip,  ///< it leaves out an operation (its first reduction of gradients)
    kHang,  ///< it sleeps for ever
  };
  Kind kind;
  int rank;
  int64_t step;  ///< from 1

  /// Fails as told when this is its rank and `step` its step; called as the step begins.
  void perform(int this_rank, int64_t this_step, Recorder& recorder) const;
};

/// An empty text is no drill. Throws ConfigError, also for ranks that do not exist.
std::optional<Drill> parse_drill(const std::string& text, int world_size);

}  // namespace enodia
