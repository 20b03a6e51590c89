#include "collectives/watch/process_state.h"

#include <fstream>
#include <iterator>
#include <string>

namespace enodia {

ProcessState state_of(int process) {
  std::ifstream file("/proc/" + std::to_string(process) + "/stat");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  // "4711 (name) S ...": the name may hold anything, brackets too.
  const size_t bracket = text.rfind(')');
  if (bracket == std::string::npos || bracket + 2 >= text.size()) {
    return ProcessState::kGone;
  }
  switch (text[bracket + 2]) {
    case 'T':
    case 't':
      return ProcessState::kStopped;
    case 'Z':
    case 'X':
      return ProcessState::kGone;
    default:
      return ProcessState::kRuns;
  }
}

}  // namespace enodia
