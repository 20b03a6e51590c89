#include "collectives/run_together.h"

#include <charconv>
#include <exception>
#include <string>

#include "collectives/collectives.h"

namespace enodia {

void run_together(Communicator& communicator, const std::function<void()>& work) {
  std::string outcome;  // empty = fine, else the code, a space and the sentence
  try {
    work();
  } catch (const Error& error) {
    outcome = std::to_string(static_cast<int>(error.exit_code())) + " " + error.what();
  } catch (const std::exception& error) {
    outcome = "1 " + std::string(error.what());
  }
  for (const std::string& other : all_gather_text(communicator, outcome)) {
    if (!other.empty()) {
      const size_t space = other.find(' ');
      int code = 1;
      std::from_chars(other.data(), other.data() + space, code);
      throw SharedError(other.substr(space + 1), static_cast<ExitCode>(code));
    }
  }
}

}  // namespace enodia
