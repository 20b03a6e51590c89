#pragma once

#include <cstdint>

namespace enodia {

enum class ProcessState : uint8_t { kRuns, kStopped, kGone };

/// Of a process of this machine, from /proc: a stopped one (SIGSTOP, a debugger) exists but makes
/// no progress; one that has ended and is not yet reaped is gone.
ProcessState state_of(int process);

}  // namespace enodia
