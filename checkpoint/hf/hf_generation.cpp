#include "checkpoint/hf/hf_generation.h"

#include <algorithm>
#include <array>
#include <limits>
#include <string_view>

#include "checkpoint/hf/hf_keys.h"
#include "common/error.h"

namespace enodia {
namespace {

/// What a key's value may be, or null.
struct Range {
  std::string_view key;
  double least, most;
  bool whole;
  std::string_view complaint;
};

constexpr double kNoEnd = std::numeric_limits<double>::max();
// As transformers wants them; a temperature of 0 says that nothing is drawn.
constexpr std::array<Range, 5> kRanges{{
    {"temperature", 0, kNoEnd, false, "must be a number not below 0"},
    {"top_k", 0, kNoEnd, true, "must be a whole number not below 0"},
    {"top_p", 0, 1, false, "must be a number from 0 to 1"},
    {"min_p", 0, 1, false, "must be a number from 0 to 1"},
    {"repetition_penalty", 0, kNoEnd, false, "must be a number not below 0"},
}};

// These are told by config.json too, or say where the file came from.
constexpr std::array<std::string_view, 5> kNotSampling{
    "bos_token_id", "eos_token_id", "pad_token_id", "transformers_version", "_from_model_config"};

[[noreturn]] void fail(const std::string& source,
                       std::string_view key,
                       const Json& value,
                       const std::string& complaint) {
  throw FileError(source + ": " + std::string(key) + " (" + text_of_json(value) + ") " + complaint);
}

std::vector<int64_t> read_eos(const Json& json, const std::string& source, int64_t vocab_size) {
  const auto eos = json.find("eos_token_id");
  std::vector<int64_t> ids;
  if (eos == json.end() || eos->is_null()) {
    return ids;
  }
  for (const Json& id : eos->is_array() ? *eos : Json::array({*eos})) {
    if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() >= vocab_size) {
      fail(source,
           "eos_token_id",
           *eos,
           "must be ids of the vocabulary, from 0 to " + std::to_string(vocab_size - 1));
    }
    ids.push_back(id.get<int64_t>());
  }
  return ids;
}

bool lies_in(const Range& range, const Json& value) {
  if (range.whole ? !value.is_number_integer() : !value.is_number()) {
    return false;
  }
  const auto number = value.get<double>();
  return number >= range.least && number <= range.most;
}

void check_sampling(const Json& json, const std::string& source) {
  for (const Range& range : kRanges) {
    const auto value = json.find(range.key);
    if (value != json.end() && !value->is_null() && !lies_in(range, *value)) {
      fail(source, range.key, *value, std::string(range.complaint));
    }
  }
  const auto draws = json.find("do_sample");
  if (draws != json.end() && !draws->is_null() && !draws->is_boolean()) {
    fail(source, "do_sample", *draws, "must be true or false");
  }
}

}  // namespace

HfGeneration read_hf_generation(const Json& json, const std::string& source, int64_t vocab_size) {
  if (!json.is_object()) {
    throw FileError(source + " must hold a JSON object");
  }
  HfGeneration generation{read_eos(json, source, vocab_size), {}};
  check_sampling(json, source);
  for (const auto& [key, value] : json.items()) {
    if (!value.is_null() && std::count(kNotSampling.begin(), kNotSampling.end(), key) == 0) {
      generation.sampling.push_back(key);
    }
  }
  return generation;
}

}  // namespace enodia
