#include "checkpoint/hf/hf_keys.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "checkpoint/hf/hf_description.h"
#include "common/wording.h"

namespace enodia {

std::string text_of_json(const Json& value) {
  constexpr size_t kLongest = 60;
  const std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
  return text.size() > kLongest ? text.substr(0, kLongest) + "..." : text;
}

const Json* HfKeys::take(std::string_view key) {
  asked_.emplace(key);
  const auto found = object_.find(key);
  return found == object_.end() ? nullptr : &*found;
}

const Json* HfKeys::take_either(std::string_view key, std::string_view twin) {
  const Json* value = take(key);
  if (twin.empty()) {
    return value;
  }
  const Json* other = take(twin);
  if (value == nullptr || other == nullptr || *value == *other) {
    return value == nullptr ? other : value;
  }
  refuse(key,
         *value,
         "and " + std::string(twin) + " (" + text_of_json(*other) +
             ") mean the same and must not differ");
  return value;
}

std::optional<int64_t> HfKeys::integer(std::string_view key, const Json& value) {
  constexpr auto kLargest = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
  const bool fits = !value.is_number_unsigned() || value.get<uint64_t>() <= kLargest;
  if (value.is_number_integer() && fits) {
    return value.get<int64_t>();
  }
  refuse(key, value, "must be an integer");
  return std::nullopt;
}

std::optional<double> HfKeys::number(std::string_view key, const Json& value) {
  // The model's arithmetic is float32, or begins with numbers of that range.
  constexpr double kLargest = std::numeric_limits<float>::max();
  if (value.is_number() && std::abs(value.get<double>()) <= kLargest) {
    return value.get<double>();
  }
  refuse(key, value, "must be a number within the range of float32");
  return std::nullopt;
}

std::optional<bool> HfKeys::truth(std::string_view key, const Json& value) {
  if (value.is_boolean()) {
    return value.get<bool>();
  }
  refuse(key, value, "must be true or false");
  return std::nullopt;
}

std::optional<std::string> HfKeys::text(std::string_view key, const Json& value) {
  if (value.is_string()) {
    return value.get<std::string>();
  }
  refuse(key, value, "must be a text");
  return std::nullopt;
}

void HfKeys::require(const HfRequired& required) {
  const Json* value = take(required.key);
  if (value == nullptr) {
    return;
  }
  const Json allowed = Json::parse(required.values);
  if (std::find(allowed.begin(), allowed.end(), *value) == allowed.end()) {
    refuse(required.key,
           *value,
           "must be " + allowed.front().dump() + ", since " + std::string(required.reason));
  }
}

void HfKeys::refuse(std::string_view key, const Json& value, const std::string& complaint) {
  refuse(prefix_ + std::string(key) + " (" + text_of_json(value) + ") " + complaint);
}

void HfKeys::refuse_others() {
  std::vector<std::string> known(asked_.begin(), asked_.end());
  for (const auto& [key, value] : object_.items()) {
    if (asked_.contains(key)) {
      continue;
    }
    const std::string near = nearest_word(key, known);
    refuse(prefix_ + quote(key) + " (" + text_of_json(value) + ") is an unknown key" +
           (near.empty() ? "" : ", was " + near + " meant?"));
  }
}

void HfKeys::add(HfKeys&& part) {
  for (std::string& refusal : part.refusals_) {
    refusals_.push_back(std::move(refusal));
  }
}

}  // namespace enodia
