#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/json.h"

namespace enodia {

/// Strict access to one value of a parsed file. Every mismatch throws FileError with the path to
/// the value: "manifest.json: tensors[3].dtype must be a text".
class JsonField {
 public:
  JsonField(const Json& value, std::string where) : value_(value), where_(std::move(where)) {}

  const Json& value() const { return value_; }
  const std::string& where() const { return where_; }
  [[noreturn]] void fail(const std::string& complaint) const;

  /// The member of an object; it must be there.
  JsonField at(std::string_view key) const;
  /// The member of an object when it is there and not null.
  std::optional<JsonField> find(std::string_view key) const;
  /// This is an object with exactly these keys.
  void require_keys(std::initializer_list<std::string_view> keys) const;
  /// The elements of an array.
  std::vector<JsonField> elements() const;
  /// An integer from 0 to 2^62.
  int64_t count() const;
  std::vector<int64_t> counts() const;
  std::string text() const;
  bool flag() const;
  /// 32 lower-case hexadecimal digits.
  std::string hash() const;

 private:
  const Json& value_;
  std::string where_;
};

}  // namespace enodia
