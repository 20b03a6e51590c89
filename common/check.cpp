#include "common/check.h"

namespace enodia::detail {

void throw_check_failed(const char* file,
                        int line,
                        const char* expression,
                        const std::string& message) {
  std::string text = concat("check failed at ", file, ":", line, ": ", expression);
  if (!message.empty()) {
    text += ": " + message;
  }
  throw UsageError(text);
}

}  // namespace enodia::detail
