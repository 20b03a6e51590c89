#include "common/json_field.h"

#include <algorithm>

#include "common/error.h"
#include "common/wording.h"

namespace enodia {

void JsonField::fail(const std::string& complaint) const {
  throw FileError(where_ + " " + complaint);
}

JsonField JsonField::at(std::string_view key) const {
  if (!value_.is_object()) {
    fail("must be an object");
  }
  const auto found = value_.find(key);
  if (found == value_.end()) {
    fail("has no " + quote(key));
  }
  const bool top = where_.ends_with(':');
  return JsonField(*found, where_ + (top ? " " : ".") + std::string(key));
}

std::optional<JsonField> JsonField::find(std::string_view key) const {
  if (value_.is_object()) {
    const auto found = value_.find(key);
    if (found == value_.end() || found->is_null()) {
      return std::nullopt;
    }
  }
  return at(key);
}

void JsonField::require_keys(std::initializer_list<std::string_view> keys) const {
  for (const std::string_view key : keys) {
    if (!value_.is_object() || !value_.contains(key)) {
      at(key);  // says what is wrong
    }
  }
  for (const auto& [key, member] : value_.items()) {
    if (std::find(keys.begin(), keys.end(), key) == keys.end()) {
      fail("has the unknown key " + quote(key));
    }
  }
}

std::vector<JsonField> JsonField::elements() const {
  if (!value_.is_array()) {
    fail("must be an array");
  }
  std::vector<JsonField> fields;
  fields.reserve(value_.size());
  for (size_t i = 0; i < value_.size(); ++i) {
    fields.emplace_back(value_[i], where_ + "[" + std::to_string(i) + "]");
  }
  return fields;
}

int64_t JsonField::count() const {
  constexpr uint64_t kLimit = uint64_t{1} << 62;
  if (!value_.is_number_unsigned() || value_.get<uint64_t>() > kLimit) {
    fail("must be an integer from 0 to 2^62");
  }
  return static_cast<int64_t>(value_.get<uint64_t>());
}

std::vector<int64_t> JsonField::counts() const {
  if (!value_.is_array()) {
    fail("must be an array of integers");
  }
  std::vector<int64_t> numbers;
  numbers.reserve(value_.size());
  for (size_t i = 0; i < value_.size(); ++i) {
    numbers.push_back(JsonField(value_[i], where_).count());
  }
  return numbers;
}

std::string JsonField::text() const {
  if (!value_.is_string()) {
    fail("must be a text");
  }
  return value_.get<std::string>();
}

bool JsonField::flag() const {
  if (!value_.is_boolean()) {
    fail("must be true or false");
  }
  return value_.get<bool>();
}

std::string JsonField::hash() const {
  const std::string digits = text();
  const bool hexadecimal = digits.find_first_not_of("0123456789abcdef") == std::string::npos;
  if (digits.size() != 32 || !hexadecimal) {
    fail("must be 32 hexadecimal digits");
  }
  return digits;
}

}  // namespace enodia
