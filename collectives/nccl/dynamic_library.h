#pragma once

#include <cstdint>
#include <string>

namespace enodia {

/// A shared library opened at run time. It is never closed: CUDA's libraries do not survive that.
class DynamicLibrary {
 public:
  /// Opens it by name (searched as the system does) or path; one that the process has loaded
  /// already is used as it is. Throws CommError with the system's reason.
  enum class Symbols : uint8_t {
    kOwn,     ///< for who asks this object
    kForAll,  ///< for libraries that are opened later, too
  };
  explicit DynamicLibrary(std::string name, Symbols symbols = Symbols::kOwn);

  /// The file that was found.
  std::string path() const;

  /// Fills `function` with the symbol's address. Throws CommError that names the library's path.
  template <typename Function>
  void load(const char* symbol, Function*& function) const {
    function = reinterpret_cast<Function*>(address_of(symbol));
  }

  /// The file that `function`, taken from a library, lies in; "an unknown file" when nobody knows.
  static std::string path_of(const void* function);

 private:
  void* address_of(const char* symbol) const;

  std::string name_;
  void* handle_;
};

}  // namespace enodia
