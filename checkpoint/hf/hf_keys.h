#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "common/json.h"

namespace enodia {

struct HfRequired;

/// A JSON value for messages: on one line, ASCII, long ones cut.
std::string text_of_json(const Json& value);

/// Takes the keys of one object of a config.json, remembers which were asked for, and gathers what
/// is refused, so that a user learns all of it at once. Borrows the object.
class HfKeys {
 public:
  /// `object` must be an object; `prefix` stands before its keys in messages: "rope_parameters.".
  explicit HfKeys(const Json& object, std::string prefix = "")
      : object_(object),
        prefix_(std::move(prefix)) {}

  /// The value of a key, or null when there is none.
  const Json* take(std::string_view key);
  /// The value of a key or of its twin; refuses two that differ.
  const Json* take_either(std::string_view key, std::string_view twin);

  /// These read what was taken and refuse another kind of value, giving nothing.
  std::optional<int64_t> integer(std::string_view key, const Json& value);
  std::optional<double> number(std::string_view key, const Json& value);
  std::optional<bool> truth(std::string_view key, const Json& value);
  std::optional<std::string> text(std::string_view key, const Json& value);

  bool was_asked(std::string_view key) const { return asked_.contains(key); }
  /// Takes a key that, when there is one, must have one of few values.
  void require(const HfRequired& required);

  /// Gathers "KEY (VALUE) complaint".
  void refuse(std::string_view key, const Json& value, const std::string& complaint);
  void refuse(std::string sentence) { refusals_.push_back(std::move(sentence)); }
  /// Refuses every key that nobody asked for.
  void refuse_others();
  /// Adds what was refused in a part of the object.
  void add(HfKeys&& part);

  bool sound() const { return refusals_.empty(); }
  const std::vector<std::string>& refusals() const { return refusals_; }

 private:
  const Json& object_;
  std::string prefix_;
  std::set<std::string, std::less<>> asked_;
  std::vector<std::string> refusals_;
};

}  // namespace enodia
