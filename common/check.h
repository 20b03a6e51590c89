#pragma once

#include <sstream>
#include <string>

#include "common/error.h"

namespace enodia::detail {

/// Joins the arguments with operator<<.
template <typename... Args>
std::string concat(const Args&... args) {
  std::ostringstream stream;
  (stream << ... << args);
  return stream.str();
}

[[noreturn]] void throw_check_failed(const char* file,
                                     int line,
                                     const char* expression,
                                     const std::string& message);

}  // namespace enodia::detail

/// Throws UsageError with the expression, the place and the message built from the other
/// arguments. Stays on in release builds.
#define ENODIA_CHECK(condition, ...)                                \
  do {                                                              \
    if (!(condition)) {                                             \
      ::enodia::detail::throw_check_failed(                         \
          __FILE__,                                                 \
          __LINE__,                                                 \
          #condition,                                               \
          ::enodia::detail::concat("" __VA_OPT__(, ) __VA_ARGS__)); \
    }                                                               \
  } while (false)

/// As ENODIA_CHECK(a == b), with both values in the message.
#define ENODIA_CHECK_EQ(a, b, ...)                                                \
  do {                                                                            \
    const auto& enodia_a = (a);                                                   \
    const auto& enodia_b = (b);                                                   \
    if (!(enodia_a == enodia_b)) {                                                \
      ::enodia::detail::throw_check_failed(                                       \
          __FILE__,                                                               \
          __LINE__,                                                               \
          #a " == " #b,                                                           \
          ::enodia::detail::concat(                                               \
              "(", enodia_a, " vs ", enodia_b, ") " __VA_OPT__(, ) __VA_ARGS__)); \
    }                                                                             \
  } while (false)

#ifdef NDEBUG
#define ENODIA_DCHECK(condition, ...) \
  do {                                \
  } while (false)
#else
#define ENODIA_DCHECK(condition, ...) ENODIA_CHECK(condition __VA_OPT__(, ) __VA_ARGS__)
#endif
