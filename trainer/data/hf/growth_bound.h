#pragma once

#include <cstddef>
#include <string>

namespace enodia {

/// How large a text may become while a part of a tokenizer.json works on it: 4096 bytes and 32
/// times its own, three times what any sensible part makes of a text (NFKD writes 33 bytes for the
/// 3 of U+FDFA). Ends parts that would fill the memory, as replacements that feed each other.
class GrowthBound {
 public:
  /// `where` names the part in messages.
  GrowthBound(const std::string& where, size_t text_bytes)
      : where_(where),
        text_bytes_(text_bytes) {}

  /// Throws FileError when a text of so many bytes is too large.
  void check(size_t bytes) const;

 private:
  const std::string& where_;
  const size_t text_bytes_;
};

}  // namespace enodia
